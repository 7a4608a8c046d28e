"""The audit record on disk: `audit.jsonl`, which is only ever added to, and the numbered files before it.

A file that has grown to its limit is closed and named by its first entry, `audit-0000004711.jsonl`; the chain
goes on in the next one. When there are too many, the oldest is removed, and an entry `audit-trimmed` says up
to which one. A last line that was cut by a crash is cut off at the next start: it was never promised.

A record with a broken chain is not continued. It is moved aside as it is, into a folder `audit-broken-TIME`,
and a new one begins, whose first entry says so. The hub or agent goes on: if it did not, whoever can spoil a
file could shut it down, and certificates would end. `verify` fails for as long as that folder is there.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from federation.audit_chain import START, Entry, Event, Link, joined, read, written
from federation.errors import AuditBroken, AuditBusy
from federation.log import Log

log = Log(__name__)

CURRENT: Final = "audit.jsonl"
TRIMMED: Final = "audit-trimmed"
BROKEN: Final = "audit-broken"
MENDED: Final = "audit-mended"
_NUMBERED: Final = "audit-{:010d}.jsonl"
_PATTERN: Final = "audit-[0-9]*.jsonl"
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one file may grow, in bytes, and how many there may be, the current one among them."""

    file_bytes: int = 4 << 20
    files: int = 16


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain that holds: how many entries it has, its first and its last; None where it has none."""

    entries: int = 0
    first: Entry | None = None
    last: Entry | None = None


def files_of(folder: Path) -> tuple[Path, ...]:
    """The files of the record in *folder*, the oldest first."""
    numbered = sorted(folder.glob(_PATTERN), key=lambda path: int(path.stem.removeprefix("audit-")))
    current = folder / CURRENT
    return (*numbered, current) if current.exists() else tuple(numbered)


def broken_of(folder: Path) -> tuple[Path, ...]:
    """The folders with records that were found broken, the oldest first."""
    return tuple(sorted(path for path in folder.glob(f"{BROKEN}-*") if path.is_dir()))


def entries_of(folder: Path) -> Iterator[Entry]:
    """All entries, in order, checked one by one; AuditBroken names the first one that is not as it was.

    The first one may follow on others that were trimmed; whether they were is for `verify` to say.
    """
    stands: Link | None = None
    with ExitStack() as stack:
        for file in _all_opened(folder, stack):
            for entry in _checked(file, stands):
                yield entry
                stands = entry.link


def verify(folder: Path, head: str = "") -> Verified:
    """Check every entry in *folder*; AuditBroken names the first bad one.

    *head* is the hash of an entry that was noted elsewhere: it has to be in the chain, or just before it.
    """
    first = last = None
    count, seen = 0, not head or head == START.hash
    trimmed = {(str(START.n), START.hash)}
    for entry in entries_of(folder):
        first, last, count = first or entry, entry, count + 1
        seen = seen or head in (entry.hash, entry.prev)
        if entry.action == TRIMMED:
            trimmed.add((entry.details.get("upto", ""), entry.details.get("head", "")))
    name = next((path.name for path in files_of(folder)), CURRENT)
    if first is not None and (str(first.n - 1), first.prev) not in trimmed:
        raise AuditBroken(name, 1, f"it begins with entry {first.n}, and nobody trimmed those before it")
    if not seen:
        reason = "no entry has the hash that was noted: it was written anew, cut short, or trimmed since"
        raise AuditBroken(name, count, reason)
    return Verified(count, first, last)


class Journal:
    """The record in a folder, open for one writer: see `open`."""

    def __init__(self, folder: Path, limits: Limits, descriptor: int, stands: Link) -> None:
        self._folder = folder
        self._limits = limits
        self._descriptor = descriptor
        self._stands = stands

    @classmethod
    def open(cls, folder: Path, now: datetime, limits: Limits) -> "Journal":
        """Go on with the record in *folder*, mended or begun anew if need be; AuditBusy if another does."""
        journal = cls(folder, limits, _opened(folder), START)
        try:
            try:
                cut = _mend(journal._descriptor)
                journal._stands = _end_of(folder)
                begin = [Event(now, MENDED, CURRENT, details={"bytes": str(cut)})] if cut else []
            except AuditBroken as broken:
                begin = [_set_aside(folder, broken, now)]
                journal._follow_on()
            if begin:
                journal.append(begin)
        except BaseException:
            journal.close()
            raise
        return journal

    def append(self, events: Sequence[Event]) -> None:
        """Have *events* on the disk when this returns; none of them if it raises OSError."""
        if os.fstat(self._descriptor).st_size >= self._limits.file_bytes:
            self._rotate(events[-1].at)
        self._write(events)

    def close(self) -> None:
        """Let another one go on."""
        os.close(self._descriptor)

    def _write(self, events: Iterable[Event]) -> None:
        lines, stands = [], self._stands
        for event in events:
            line, stands = written(event, stands)
            lines.append(line)
        size = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, b"".join(lines))
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise
        self._stands = stands

    def _rotate(self, now: datetime) -> None:
        """Close this file and go on in the next; what is too old is removed when the record says so."""
        current = self._folder / CURRENT
        if current.exists():  # it does not if the next one could not be made the last time
            current.rename(self._folder / _NUMBERED.format(read(_first_line(current)).n))
        self._follow_on()
        for oldest in files_of(self._folder)[: -self._limits.files]:
            end = _last_link(oldest)
            self._write([Event(now, TRIMMED, oldest.name, details={"upto": str(end.n), "head": end.hash})])
            oldest.unlink()
        _sync(self._folder)

    def _follow_on(self) -> None:
        """Write to the current file from now on, which is another one than before."""
        following = _opened(self._folder)
        os.close(self._descriptor)
        self._descriptor = following


def _opened(folder: Path) -> int:
    """The current file, made if need be, for us alone to write."""
    path = folder / CURRENT
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AuditBusy(str(path)) from error
    _sync(folder)
    return descriptor


def _mend(descriptor: int) -> int:
    """Cut off a last line that has no end; says how many bytes that was."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        begin = max(0, end - _CHUNK)
        newline = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    if end < size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    return size - end


def _end_of(folder: Path) -> Link:
    """Where the chain stands, with the current file checked, and the one before it by its last line."""
    *before, current = files_of(folder)
    stands = _last_link(before[-1]) if before else None
    with current.open("rb") as file:
        for entry in _checked(file, stands):
            stands = entry.link
    return stands or START


def _set_aside(folder: Path, broken: AuditBroken, now: datetime) -> Event:
    """Move all files of the record away, as they are; gives the event that tells of it."""
    kept = folder / f"{BROKEN}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    kept.mkdir(mode=0o700, exist_ok=True)
    for path in files_of(folder):
        path.rename(kept / path.name)
    _sync(kept)
    _sync(folder)
    log.error("audit record broken", reason=str(broken), kept=kept, hint="see `fedgate audit verify`")
    details = {"file": broken.file, "line": str(broken.line), "reason": broken.reason, "kept": kept.name}
    return Event(now, BROKEN, CURRENT, details=details)


def _all_opened(folder: Path, stack: ExitStack) -> list[BinaryIO]:
    """All files of the record as they were at one moment, though one may be closed or removed meanwhile."""
    while True:
        paths = files_of(folder)
        with ExitStack() as opened, suppress(FileNotFoundError):
            files: list[BinaryIO] = [opened.enter_context(path.open("rb")) for path in paths]
            if files_of(folder) == paths:
                stack.push(opened.pop_all())
                return files


def _checked(file: BinaryIO, stands: Link | None) -> Iterator[Entry]:
    """The entries of one file, which go on from *stands* if that is known.

    A last line without an end is left out: it is being written, or will be cut off at the next start.
    """
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            return
        try:
            entry = read(line)
            if stands is not None:
                joined(entry, stands)
        except ValueError as error:
            raise AuditBroken(Path(file.name).name, number, str(error)) from error
        stands = entry.link
        yield entry


def _last_link(path: Path) -> Link:
    """Where the chain stands at the end of a closed file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _CHUNK, max(0, size - _CHUNK))
    finally:
        os.close(descriptor)
    try:
        return read(tail.splitlines()[-1]).link
    except (ValueError, IndexError) as error:
        raise AuditBroken(path.name, 0, f"its last entry: {error}") from error


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
