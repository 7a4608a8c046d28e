"""A program that replaces three files together, again and again, and dies each time a step or a byte later.

It makes a folder for each death, with what that left behind. A program of its own, because a test's process
may have threads, and such a process is not to be forked.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pki import keystore

OLD = {"key": b"old key", "chain": b"old chain", "roots": b"old roots"}
NEW = {"key": b"new key", "chain": b"new chain", "roots": b"new roots"}


def main(folder: Path) -> None:
    """Go on until the writer lives to the end, first by steps, then by bytes."""
    for kind, dies in (("step", _after_steps), ("byte", _after_bytes)):
        amount, survived = 0, False
        while not survived:
            amount += 1
            state = folder / f"{kind}-{amount:03d}"
            state.mkdir()
            keystore.write_all(state, OLD)
            survived = _replace(state, dies, amount)


def _replace(state: Path, dies: Callable[[int], None], amount: int) -> bool:
    """Write in a child that stops dead; whether it lived to its end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    dies(amount)
    keystore.write_all(state, NEW)
    os._exit(0)


def _after_bytes(size: int) -> None:
    """Have the kernel kill it as one of its files is about to grow beyond so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, size - 1))


def _after_steps(steps: int) -> None:
    """Stop before it opens, renames or removes a file for the last time."""
    left = steps

    def count(event: str, _: object) -> None:
        nonlocal left
        if event.startswith(("open", "os.")):
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(count)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
