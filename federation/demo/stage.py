"""What the demo shows: each step as it happens and how long it took, on 80 columns.

On a terminal the step that is under way is visible; elsewhere each line is written once, when it is true.
"""

import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from federation.output import Output

_WIDTH = 79
_INDENT = "    "
_CLEAR_LINE = "\r\x1b[K"


class Step:
    """A step under way; `says` is what stands there when it is done."""

    def __init__(self, says: str) -> None:
        self.says = says


class Stage:
    """Lines of progress, written to *stream*."""

    def __init__(
        self, stream: TextIO, output: Output, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._stream = stream
        self._output = output
        self._clock = clock
        self._live = output.terminal.color  # a terminal that takes colours takes a line back as well

    @contextmanager
    def step(self, doing: str) -> Iterator[Step]:
        """Time what is done inside. An exception marks the step as failed, and passes."""
        began = self._clock()
        step = Step(doing)
        if self._live:
            self._write(f"  . {doing[: _WIDTH - len(_INDENT)]}")
        try:
            yield step
        except BaseException:
            self._done("fail", doing, f"{self._clock() - began:.1f} s")
            raise
        self._done("ok", step.says, f"{self._clock() - began:.1f} s")

    def result(self, good: bool, text: str, took: str) -> None:
        """One line of something that has been tried."""
        self._done("ok" if good else "fail", text, took)

    def heading(self, text: str) -> None:
        """Begin a part."""
        self._write(f"\n{self._output.bold(text)}\n")

    def say(self, *lines: str) -> None:
        """Plain lines, as they are."""
        for line in lines:
            self._write(f"{line}\n")

    def note(self, text: str) -> None:
        """More about the line before, as many lines as it takes."""
        self.say(*textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT))

    def _done(self, status: str, text: str, took: str) -> None:
        """The mark, what there is to say, and at the right how long it took."""
        clear = _CLEAR_LINE if self._live else ""
        room = _WIDTH - len(_INDENT) - len(took) - 1
        first, *others = textwrap.wrap(text, room) or [""]
        lead = "  " if self._output.terminal.unicode else " "  # in ASCII a mark has two letters
        self._write(f"{clear}{lead}{self._output.mark(status)} {first:<{room}} {took}\n")
        self.say(*(f"{_INDENT}{line}" for line in others))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
