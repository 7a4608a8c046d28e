"""A program that arranges a rollover's files, again and again, and dies each time one step later.

For each death it leaves a folder with what was left behind. *record* is a file with the rollover to go to,
as JSON, or null to end it. A program of its own, because a process with threads is not to be forked.
"""

import os
import shutil
import sys
from pathlib import Path

import msgspec

from federation.hub_authority import Vault
from federation.registry.records import RolloverRecord
from federation.rollover.files import arrange


def main(begin: Path, record: Path, folder: Path) -> None:
    """Go on until the hub lives to the end."""
    rollover = msgspec.json.decode(record.read_bytes(), type=RolloverRecord | None)
    step, survived = 0, False
    while not survived:
        step += 1
        state = folder / str(step)
        shutil.copytree(begin, state)
        survived = _arrange(state, rollover, steps=step)


def _arrange(state: Path, rollover: RolloverRecord | None, *, steps: int) -> bool:
    """Arrange in a child that stops dead before it opens, renames or removes a file for the last time."""
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
    arrange(Vault(state), rollover)
    os._exit(0)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
