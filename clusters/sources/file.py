"""The file source: reads a cluster's `Offer` from a YAML file, and follows the file as it is edited.

A file is read once it has held still from one look to the next, so an editor that truncates and then
writes is not caught half-way. One that takes the place of another was written before, and is read at once.
A file that cannot be used changes nothing: the newest good offer stays, with the problems told beside it.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from clusters.errors import SourceError
from clusters.model import Offer
from clusters.sources import version
from clusters.sources.notices import Notices
from clusters.sources.version import Version

MAX_BYTES = 8 * 1024 * 1024

_Signature: TypeAlias = tuple[int, ...]


class SourceState(StrEnum):
    """How a source is doing."""

    GOOD = "good"
    STALE = "stale"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known from a file: its newest good offer, and why a newer version is not in use."""

    offer: Offer | None = None
    problems: tuple[str, ...] = ()

    @property
    def state(self) -> SourceState:
        """`good`; `stale` while problems hold the offer back; `unread` when there never was one."""
        if self.offer is None:
            return SourceState.UNREAD
        return SourceState.STALE if self.problems else SourceState.GOOD


def load(path: Path) -> Offer:
    """Read the offer in the file at *path*, or raise `SourceError` with every problem in it."""
    return _version(path, None).offer


def _version(path: Path, before: Version | None) -> Version:
    try:
        content = _read(path)
        text = content.decode()
    except OSError as error:
        raise SourceError(str(path), (f"cannot be read: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SourceError(str(path), (f"{line}:1: byte {error.start} is not UTF-8",)) from error
    return version.read(text, str(path), before)


def _read(path: Path) -> bytes:
    """Read a regular file of reasonable size; a pipe or a device at *path* must not block us."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SourceError(str(path), ("not a regular file",))
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SourceError(str(path), (f"larger than {MAX_BYTES // 1024 // 1024} MiB",))
    return content


class FileSource:
    """A file that is looked at again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reading = Reading()
        self._version: Version | None = None
        self._seen: _Signature | None = None
        self._read: _Signature | None = None

    def look(self, *, replaced: bool = False) -> Reading | None:
        """Look once; the new `reading` when there is something new to say.

        A version that appears at one look is read at the next, if it has not changed between them; at once
        when it is known that the file was *replaced* by another, as that one was whole by then.
        """
        before, self._seen = self._seen, _signature(self.path)
        if (self._seen != before and not replaced) or self._seen == self._read:
            return None
        reading = self._load()
        if _signature(self.path) != self._seen:
            return None
        self._read = self._seen
        if reading == self.reading:
            return None
        self.reading = reading
        return reading

    def _load(self) -> Reading:
        try:
            self._version = _version(self.path, self._version)
        except SourceError as error:
            return Reading(self.reading.offer, error.problems)
        return Reading(self._version.offer)


def _signature(path: Path) -> _Signature:
    """What changes when a file is edited in place, replaced or linked anew; empty without a file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


async def watch(path: Path, every: float = 0.1) -> AsyncIterator[Reading]:
    """Yield what the file at *path* says, and each change of it, for ever.

    It is looked at *every* so many seconds, and as soon as the kernel says that another took its place.
    """
    source = FileSource(path)
    with Notices(path) as notices:
        replaced = False
        while True:
            if reading := await asyncio.to_thread(source.look, replaced=replaced):
                yield reading
            replaced = await notices.wait(every)
