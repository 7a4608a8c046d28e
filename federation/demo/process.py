"""A program that the lab runs: started with a log of its own, stopped for certain.

A program in a host's namespaces is the child of an `nsenter` that waits for it and passes no signal
on. A `Process` therefore signals the program itself, and answers for it as if it had no wrapper.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_TAIL_BYTES = 64 * 1024


class Process:
    """One running program, with its output in *log*.

    Leaving it as a context manager stops it. Nothing is read from its standard input, and it is in
    a session of its own, so that a Ctrl-C at the terminal is for whoever started it to answer.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log: Path,
        wrapped: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._wrapped = wrapped
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The program's own process id, as seen from here; None once it has ended."""
        if self._popen.poll() is not None:
            return None
        if not self._wrapped:
            return self._popen.pid
        deadline = time.monotonic() + 5
        while self._popen.poll() is None and time.monotonic() < deadline:
            if children := children_of(self._popen.pid):
                return children[0]
            time.sleep(0.001)
        return None

    @property
    def returncode(self) -> int | None:
        """How it ended: None while it runs, the negative signal when one ended it."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal; one that has ended does not mind."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It and its children stand still until the block is left.

        A wrapper stands still with the program that it waits for, so it has to be woken up as well.
        """
        pid = self.pid
        frozen = [] if pid is None else [pid, *children_of(pid)]
        for each in frozen:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in (*frozen, self._popen.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends; raises `subprocess.TimeoutExpired`."""
        return self._popen.wait(timeout)

    def stop(self, timeout: float = 10.0) -> None:
        """Ask it to end, and end it when it has not within *timeout*."""
        self.signal(signal.SIGTERM)
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.wait()

    def tail(self, lines: int = 15) -> str:
        """The last *lines* of its log."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def children_of(pid: int) -> list[int]:
    """The processes whose parent is *pid*, in the order of their ids."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return sorted(found)
