"""The file into which an ingress writes whose its connections are: read as it grows, and kept small."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from gateway.admin import ask
from gateway.errors import EnvoyFailed

_MOST: Final = 4 << 20
"""Bytes after which another file is begun."""


def clear(path: Path) -> None:
    """Remove what an Envoy that has ended has left at *path*: its connections ended with it."""
    for each in (path, _former(path)):
        each.unlink(missing_ok=True)


def reopening(admin: Path) -> Callable[[], None]:
    """Have the Envoy whose interface is the socket *admin* open its logs anew, by their paths."""

    def reopen() -> None:
        ask(admin, "POST", "/reopen_logs")

    return reopen


class TunnelLog:
    """The lines of the file *path*, whose writer opens it anew some time after *reopen*."""

    def __init__(self, path: Path, reopen: Callable[[], None], most: int = _MOST) -> None:
        self._path = path
        self._reopen = reopen
        self._most = most
        self._file: BinaryIO | None = None
        self._begun = b""
        self._asked = False

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> list[bytes]:
        """The whole lines that are new; may raise OSError."""
        file = self._file or self._open()
        if file is None:
            return []
        # Once there is another file at the path, nothing is written to the old one any more.
        another = self._is_not_at_path(file)
        lines = self._new_lines(file)
        if another and (new := self._open()):
            _former(self._path).unlink(missing_ok=True)
            lines += self._new_lines(new)
        elif not another and not self._asked and file.tell() > self._most:
            self._put_aside()
        return lines

    def _open(self) -> BinaryIO | None:
        try:
            file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
        self.close()
        self._file, self._begun, self._asked = file, b"", False
        return file

    def _is_not_at_path(self, file: BinaryIO) -> bool:
        """Whether there is a file at the path, and it is not *file*."""
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    def _new_lines(self, file: BinaryIO) -> list[bytes]:
        *lines, self._begun = (self._begun + file.read()).split(b"\n")
        return lines

    def _put_aside(self) -> None:
        """Have the writer begin another file, which it does with its next line."""
        with suppress(FileNotFoundError):  # it is aside already
            self._path.rename(_former(self._path))
        with suppress(EnvoyFailed):  # it is asked again at the next reading
            self._reopen()
            self._asked = True


def _former(path: Path) -> Path:
    return path.with_name(path.name + ".former")
