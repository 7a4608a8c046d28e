"""Which process is which workload: what the kernel says of a caller, and what a workload is known by."""

import re
from dataclasses import dataclass
from typing import Final

from clusters.errors import InvalidValue

_MOST_ID: Final = (1 << 32) - 2  # the last one stands for "none"
_LONGEST_PATH: Final = 4096
_PATH = re.compile(r"(/[^/\0]+)+")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the kernel knew it when it connected. `path` is its program's, empty if it cannot be told.

    User and group are those that it had then, as this machine's own users see them.
    """

    pid: int
    uid: int
    gid: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class UnixSelector:
    """What the processes of a workload have in common: their user, and more if that is not enough.

    Without `gid` and `path` any group and any program will do. There is always a user: any user may run any
    program that it can read.
    """

    uid: int
    gid: int | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        unix_id(self.uid)
        if self.gid is not None:
            unix_id(self.gid)
        if self.path is not None:
            program(self.path)

    def matches(self, process: Process) -> bool:
        """Whether *process* is one of them."""
        return (
            process.uid == self.uid and self.gid in (None, process.gid) and self.path in (None, process.path)
        )


def unix_id(number: int) -> int:
    """Check that *number* can be a user's or a group's."""
    if not 0 <= number <= _MOST_ID:
        raise InvalidValue("user or group", number, f"want 0-{_MOST_ID}")
    return number


def program(path: str) -> str:
    """Check that *path* is how the kernel names a program: absolute, and without detours."""
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise InvalidValue("program", path, "want its absolute path, without '.', '..' and doubled slashes")
    if len(path.encode()) > _LONGEST_PATH:
        raise InvalidValue("program", path[:60], f"longer than {_LONGEST_PATH} bytes")
    return path
