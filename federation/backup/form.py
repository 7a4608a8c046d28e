"""The form of a backup: lines of JSON, of which the first says what it is, and the last that it is whole.

    {"fedgate_backup":1,"taken":"2026-11-23T06:00:00Z","revision":4711}
    {"file":"root.pem","content":BASE64}
    {"key":"fedgate/federation","value":BASE64}
    {"lines":812,"sha256":HEX}

The hash is that of all that is before the last line. It tells a cut or damaged file, and not one that
somebody has changed on purpose: a backup is kept like the folder of a hub.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from clusters.decoding import UNDECODABLE
from federation.errors import BackupUnusable

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """The registry at one *revision*, by key, and the authorities' files, by name, with the keys sealed."""

    taken: datetime
    revision: int
    files: Mapping[str, bytes]
    records: Mapping[str, bytes]


class _Head(msgspec.Struct):
    fedgate_backup: int
    taken: datetime
    revision: int


class _File(msgspec.Struct):
    file: str
    content: bytes


class _Record(msgspec.Struct):
    key: str
    value: bytes


class _End(msgspec.Struct):
    lines: int
    sha256: str


def encode(backup: Backup) -> bytes:
    """The content of the file."""
    lines = [msgspec.json.encode(part) + b"\n" for part in _parts(backup)]
    content = b"".join(lines)
    return content + msgspec.json.encode(_End(len(lines), hashlib.sha256(content).hexdigest())) + b"\n"


def _parts(backup: Backup) -> Iterator[_Head | _File | _Record]:
    yield _Head(FORMAT, backup.taken, backup.revision)
    yield from (_File(name, content) for name, content in sorted(backup.files.items()))
    yield from (_Record(key, value) for key, value in sorted(backup.records.items()))


def decode(content: bytes, where: str) -> Backup:
    """Undo `encode`; BackupUnusable says of the file *where* that it is none, is cut, damaged, or too new."""
    head = _head(content, where)
    *lines, last = content.splitlines(keepends=True)
    end = _end(last)
    if end is None or not last.endswith(b"\n"):
        raise BackupUnusable(where, "it is cut short: its last line is missing")
    before = b"".join(lines)
    if end.lines != len(lines) or end.sha256 != hashlib.sha256(before).hexdigest():
        raise BackupUnusable(where, "it is damaged: its content is not what its last line says")
    files: dict[str, bytes] = {}
    records: dict[str, bytes] = {}
    try:
        for line in lines[1:]:
            if line.startswith(b'{"file":'):
                file = msgspec.json.decode(line, type=_File)
                files[_plain(file.file, where)] = file.content
            else:
                record = msgspec.json.decode(line, type=_Record)
                records[record.key] = record.value
    except UNDECODABLE as error:
        raise BackupUnusable(where, f"it makes no sense: {error}") from error
    return Backup(head.taken, head.revision, files, records)


def _head(content: bytes, where: str) -> _Head:
    first = content[: content.find(b"\n") + 1]
    if not content.startswith(b'{"fedgate_backup":'):
        raise BackupUnusable(where, "it is not a backup of fedgate")
    try:
        head = msgspec.json.decode(first, type=_Head)
    except UNDECODABLE as error:
        raise BackupUnusable(where, f"its first line cannot be read: {error}") from error
    if head.fedgate_backup != FORMAT:
        reason = f"it is of format {head.fedgate_backup}, and this fedgate knows format {FORMAT}"
        raise BackupUnusable(where, reason, "restore it with the fedgate that wrote it, or a newer one")
    return head


def _end(line: bytes) -> _End | None:
    try:
        return msgspec.json.decode(line, type=_End)
    except UNDECODABLE:
        return None


def _plain(name: str, where: str) -> str:
    """*name*, if a file of that name is in the folder itself."""
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise BackupUnusable(where, f"it has a file {name!r}, which belongs in no folder of a hub")
    return name
