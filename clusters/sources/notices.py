"""The kernel's word that a file was put in the place of another (inotify, by way of the C library).

Only a help to be sooner: a file system that tells nothing, or a kernel that has no more to give, leaves its
reader to look by himself.
"""

import asyncio
import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

_MOVED_TO: Final = 0x80
_HEAD: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_ROOM: Final = 65536

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Notices:
    """Waits for a file to be renamed to *path*. Use as a context manager, within one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._came = asyncio.Event()
        self._file: int | None = None

    def __enter__(self) -> "Notices":
        self._file = _watching(self._path.parent)
        if self._file is not None:
            asyncio.get_running_loop().add_reader(self._file, self._hear, self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(RuntimeError):  # the loop may have ended before the one who watched
                asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = None

    async def wait(self, seconds: float) -> bool:
        """Wait for it, but not longer than *seconds*: whether it came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
        came = self._came.is_set()
        self._came.clear()
        return came

    def _hear(self, file: int) -> None:
        try:
            events = os.read(file, _ROOM)
        except BlockingIOError:
            return
        if self._path.name in _names(events):
            self._came.set()


def _names(events: bytes) -> set[str]:
    """The names that *events* are about."""
    names, at = set(), 0
    while at < len(events):
        _, _, _, length = _HEAD.unpack_from(events, at)
        at += _HEAD.size + length
        names.add(os.fsdecode(events[at - length : at].rstrip(b"\0")))
    return names


def _watching(folder: Path) -> int | None:
    """A file that tells of what is renamed to a name in *folder*; None if there is none to be had."""
    try:
        file: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if file < 0:
            return None
        if _libc.inotify_add_watch(file, os.fsencode(folder), _MOVED_TO) < 0:
            os.close(file)
            return None
    except AttributeError:  # a C library without it
        return None
    return file
