"""A YAML document as nodes that know their place, read with suspicion.

Built from the parser's events rather than by its composer: an alias is refused where it stands, before
anything is expanded; nesting is bounded; a key given twice is told instead of silently replaced. Scalars
stay text, so that the reader of a field decides what it means (`no` is a fine namespace).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import yaml

MAX_DEPTH = 16

_NULL = re.compile(r"~|null|Null|NULL|")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column, counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text; *plain* when it was written without quotes."""

    place: Place
    text: str
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing was written here, or YAML's word for nothing."""
        return self.plain and _NULL.fullmatch(self.text) is not None


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    place: Place
    items: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping from text; `key_places` is where each key stands."""

    place: Place
    entries: dict[str, "Node"] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)


Node: TypeAlias = Scalar | Listing | Table


class Malformed(Exception):
    """A text that is not one plain YAML document: why, and where."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


def compose(text: str) -> Node:
    """Read the one document in *text*, or raise `Malformed`."""
    try:
        return _document(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise Malformed(_place(error.problem_mark or error.context_mark), reason) from error
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="replace")
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Malformed(place, f"character {error.character!r} may not stand in YAML") from error


class _Mark(Protocol):
    line: int
    column: int


def _place(mark: _Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _document(events: Iterator[yaml.Event]) -> Node:
    root: Node | None = None
    for event in events:
        if isinstance(event, yaml.NodeEvent):
            if root is not None:
                raise Malformed(_place(event.start_mark), "a second document; want one only")
            root = _node(event, events, 0)
    return root or Scalar(Place(1, 1), "", True)


def _node(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
    """Build the node that begins with *event* from the events that follow."""
    place = _place(event.start_mark)
    if isinstance(event, yaml.AliasEvent):
        raise Malformed(place, f"alias *{event.anchor}: aliases are not read here; write the value out")
    if depth > MAX_DEPTH:
        raise Malformed(place, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, yaml.ScalarEvent):
        _no_tag(event.tag, place)
        return Scalar(place, event.value, event.style in (None, ""))
    if isinstance(event, yaml.SequenceStartEvent):
        _no_tag(event.tag, place)
        return _listing(place, events, depth)
    if isinstance(event, yaml.MappingStartEvent):
        _no_tag(event.tag, place)
        return _table(place, events, depth)
    raise Malformed(place, f"unexpected {type(event).__name__}")


def _no_tag(tag: str | None, place: Place) -> None:
    if tag is not None:
        raise Malformed(place, f"tag {tag!r}: tags are not read here")


def _listing(place: Place, events: Iterator[yaml.Event], depth: int) -> Listing:
    listing = Listing(place)
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            break
        listing.items.append(_node(event, events, depth + 1))
    return listing


def _table(place: Place, events: Iterator[yaml.Event], depth: int) -> Table:
    table = Table(place)
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        key = _node(event, events, depth + 1)
        if not isinstance(key, Scalar):
            raise Malformed(key.place, "want a plain word as key")
        if key.text in table.entries:
            first = table.key_places[key.text]
            raise Malformed(key.place, f"key {key.text!r} given twice; the first is at {first}")
        table.entries[key.text] = _node(next(events), events, depth + 1)
        table.key_places[key.text] = key.place
    return table
