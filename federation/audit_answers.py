"""What is told of an audit record, by hub and agent and by whoever has its files: the same either way."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from federation.audit_chain import Entry
from federation.audit_files import broken_of, entries_of, verify
from federation.errors import AuditBroken
from federation.table import Record

MOST_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: the last *most* of those since then, with that action, whose subject has that in it."""

    since: datetime | None = None
    action: str = ""
    subject: str = ""
    most: int = 1000

    def matches(self, entry: Entry) -> bool:
        """Whether *entry* is one of them, but for how many there are."""
        return (
            (self.since is None or entry.moment >= self.since)
            and self.action in ("", entry.action)
            and self.subject in entry.subject
        )


def entries_document(folder: Path, wanted: Wanted) -> Record:
    """The entries that are wanted, the oldest first, up to the first bad one, of which `problem` tells."""
    found = deque[Entry](maxlen=min(wanted.most, MOST_ENTRIES))
    problem = ""
    try:
        found.extend(entry for entry in entries_of(folder) if wanted.matches(entry))
    except AuditBroken as broken:
        problem = str(broken)
    return {"entries": [entry.document() for entry in found], "problem": problem}


def verdict_document(folder: Path, head: str) -> Record:
    """Whether the record in *folder* is as it was written, and all of it there up to the entry *head*.

    `problem` says what is wrong, first of all of the chain, and then of records that were moved aside.
    """
    try:
        found = verify(folder, head)
    except AuditBroken as broken:
        return {"ok": False, "problem": str(broken), "file": broken.file, "line": broken.line}
    aside = broken_of(folder)
    return {
        "ok": not aside,
        "problem": f"an earlier record was found broken, and is kept in {aside[0]}" if aside else "",
        "entries": found.entries,
        "first": _place(found.first),
        "last": _place(found.last),
        "head": found.last.hash if found.last else "",
    }


def _place(entry: Entry | None) -> Record | None:
    return {"n": entry.n, "at": entry.at} if entry else None
