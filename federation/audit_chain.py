"""A record that shows when it was changed afterwards: each entry carries the hash of the one before it.

An entry is one line of JSON, with its keys in order, without spaces, in ASCII:

    {"action":"issued","actor":"10.0.0.7","at":"2026-06-01T12:00:00.000Z","details":{"token":"5b1e"},
     "hash":"9f…","n":17,"prev":"3c…","subject":"onprem"}

`hash` is the SHA-256 of that line without `hash` itself, which `jq -cSaj 'del(.hash)'` writes just so. `prev`
is the hash of entry *n* - 1; that of the first is 64 zeros. A chain cannot show that its last entries were
taken away, or that all of it was written anew: for that, its head is to be noted elsewhere now and then.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from federation.table import Json, Record

_LONGEST: Final = 1000  # characters of any one text: some of it is what strangers say
_MOST_DETAILS: Final = 20
_TEXTS: Final = ("at", "actor", "action", "subject", "prev", "hash")


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be written down: that *actor* did *action* to *subject*."""

    at: datetime
    action: str
    subject: str
    actor: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: number and hash of its last entry."""

    n: int
    hash: str


START: Final = Link(0, "0" * 64)
"""Where a chain stands that has no entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in its place in the chain, with the hash that its line states."""

    n: int
    at: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, str]
    prev: str
    hash: str

    @property
    def link(self) -> Link:
        """Where the chain stands after it."""
        return Link(self.n, self.hash)

    @property
    def moment(self) -> datetime:
        """When it happened."""
        return datetime.fromisoformat(self.at)

    def document(self) -> Record:
        """All of it, for programs."""
        return {
            "n": self.n,
            "at": self.at,
            "actor": self.actor,
            "action": self.action,
            "subject": self.subject,
            "details": dict(self.details),
            "prev": self.prev,
            "hash": self.hash,
        }


def written(event: Event, after: Link) -> tuple[bytes, Link]:
    """The line of *event* in a chain that stands at *after*, and where it stands then."""
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    content: dict[str, Json] = {
        "n": after.n + 1,
        "at": at,
        "actor": event.actor[:_LONGEST],
        "action": event.action[:_LONGEST],
        "subject": event.subject[:_LONGEST],
        "details": {key: text[:_LONGEST] for key, text in list(event.details.items())[:_MOST_DETAILS]},
        "prev": after.hash,
    }
    digest = _digest(content)
    return _canonical({**content, "hash": digest}) + b"\n", Link(after.n + 1, digest)


def read(line: bytes) -> Entry:
    """Undo `written`; ValueError says why a line is none of ours, or is not as it was written."""
    try:
        content: Json = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(content, dict) or content.keys() != {"n", "details", *_TEXTS}:
        raise ValueError("it is no entry of an audit record")
    n, details = content["n"], content["details"]
    texts = {key: text for key in _TEXTS if isinstance(text := content[key], str)}
    if type(n) is not int or len(texts) < len(_TEXTS) or not isinstance(details, dict):
        raise ValueError("it is no entry of an audit record")
    entry = Entry(n=n, details={key: str(value) for key, value in details.items()}, **texts)
    if _canonical(entry.document()) != line.rstrip(b"\n"):
        raise ValueError("it is not written as we write")
    if _digest({key: value for key, value in content.items() if key != "hash"}) != entry.hash:
        raise ValueError("its hash is not that of its content")
    return entry


def joined(entry: Entry, after: Link) -> Entry:
    """Give *entry* back if it goes on where the chain stands; ValueError says why it does not."""
    if entry.n != after.n + 1:
        raise ValueError(f"its number is {entry.n}, and {after.n + 1} was to come")
    if entry.prev != after.hash:
        raise ValueError(f"it does not go on from entry {after.n}")
    return entry


def _digest(content: Record) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _canonical(content: Record) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
