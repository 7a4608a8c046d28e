"""A program that replaces three files together, again and again, and dies each time one step later.

It makes a folder for each death, with what that left behind. A program of its own, because a test's process
may have threads, and such a process is not to be forked.
"""

import os
import sys
from pathlib import Path

from pki import keystore

OLD = {"key": b"old key", "chain": b"old chain", "roots": b"old roots"}
NEW = {"key": b"new key", "chain": b"new chain", "roots": b"new roots"}


def main(folder: Path) -> None:
    """Go on until the writer lives to the end."""
    step, survived = 0, False
    while not survived:
        step += 1
        state = folder / str(step)
        state.mkdir()
        keystore.write_all(state, OLD)
        survived = _replace(state, steps=step)


def _replace(state: Path, *, steps: int) -> bool:
    """Write in a child that stops dead before it opens, renames or removes a file for the last time."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = steps

    def count(event: str, _: object) -> None:
        nonlocal left
        if event.startswith(("open", "os.")):
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(count)
    keystore.write_all(state, NEW)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
