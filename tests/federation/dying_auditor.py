"""A program that adds to an audit record, again and again, and dies each time a step or a few bytes later.

It makes a folder for each death, with what that left behind. A program of its own, because a test's process
may have threads, and such a process is not to be forked.
"""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from federation.audit_chain import Event
from federation.audit_files import CURRENT, Journal, Limits

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SMALL = Limits(file_bytes=900, files=3)


def main(folder: Path) -> None:
    """Go on until the writer lives to the end, first by steps, then by bytes."""
    _deaths(folder, "step", _after_steps, SMALL, range(12, 16), every=1)
    _deaths(folder, "byte", _after_bytes, Limits(), range(12, 13), every=5)


def _deaths(
    folder: Path,
    kind: str,
    dies: Callable[[int, Path], None],
    limits: Limits,
    numbers: range,
    *,
    every: int,
) -> None:
    before = folder / f"{kind}-before"
    before.mkdir()
    _write(before, range(12), limits)
    for amount in count(1, every):
        state = folder / f"{kind}-{amount:05d}"
        shutil.copytree(before, state)
        child = os.fork()
        if child == 0:
            dies(amount, state)
            _write(state, numbers, limits)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return


def _after_steps(steps: int, _: Path) -> None:
    """Stop before it opens, renames, cuts or removes a file for the last time."""
    left = steps

    def counted(event: str, _: object) -> None:
        nonlocal left
        if event.startswith(("open", "os.", "fcntl.")):
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(counted)


def _after_bytes(more: int, state: Path) -> None:
    """Have the kernel kill it as the record is about to grow by one byte beyond so many *more*."""
    size = (state / CURRENT).stat().st_size + more - 1
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _write(state: Path, numbers: range, limits: Limits) -> None:
    journal = Journal.open(state, NOW, limits)
    for number in numbers:
        at = NOW + timedelta(seconds=number)
        journal.append([Event(at, "issued", f"cluster-{number}"), Event(at, "denied", f"cluster-{number}")])
    journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
