"""Whether all secrets of a state folder are secret: looked at before anything is served."""

import os
import stat
from pathlib import Path
from typing import Final

from federation.errors import SecretsExposed

_SECRET: Final = (".key", ".sealed", ".db", ".jsonl")


def check(state: Path) -> None:
    """Raise SecretsExposed, with what to run, if others could use the keys and records in *state*.

    What is below it is looked at too; a link is not followed. The folder itself must let nobody else in who
    could put another file in the place of one of these.
    """
    ours = {os.geteuid(), 0}
    faults, chown, chmod = list[str](), list[Path](), list[Path]()
    for path, forbidden in _looked_at(state):
        status = path.lstat()
        if status.st_uid not in ours:
            faults.append(f"{path} belongs to user {status.st_uid}")
            chown.append(path)
        if status.st_mode & forbidden:
            faults.append(f"{path} has mode {stat.S_IMODE(status.st_mode):04o}")
            chmod.append(path)
    if faults:
        owner = f"chown {os.geteuid()} {' '.join(map(str, chown))}" if chown else ""
        folders = f"chmod 700 {' '.join(str(p) for p in chmod if p.is_dir())}"
        files = f"chmod 600 {' '.join(str(p) for p in chmod if not p.is_dir())}"
        commands = [line for line in (owner, folders, files) if len(line.split()) > 2]
        raise SecretsExposed("; ".join(faults), " && ".join(commands))


def _looked_at(state: Path) -> list[tuple[Path, int]]:
    """Each path that matters, with the bits of its mode that must not be there."""
    files = [
        (path, stat.S_IRWXG | stat.S_IRWXO)
        for path in sorted(state.rglob("*"))
        if path.suffix in _SECRET and not path.is_symlink() and path.is_file()
    ]
    return [(state, stat.S_IWGRP | stat.S_IWOTH), *files]
