"""One version of the source file after another, of which only what is around a change is read again.

A file of ten thousand services takes a second to read, and a change is one of its lines. When the change
lies within the items of a plain list of services, and these make sense on their own, the others are what they
were. In every other case, and whenever anything is wrong, the whole text is read: this is only ever sooner.
"""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from clusters.model import Offer
from clusters.names import ServiceName
from clusters.services import LocalService
from clusters.sources.cursor import Cursor, Problems
from clusters.sources.document import Listing, Malformed, Node, Table, compose
from clusters.sources.offer import parse_document, read_service

_SECTION: Final = "services"
_MARGIN: Final = re.compile(" *- +")
_BLOCK: Final = 4096
# What begins or ends a document, where a line begins: it has a say in what comes after it.
_BOUNDS: Final = ("\n---", "\n...", "\n%")


@dataclass(frozen=True, slots=True)
class _Items:
    """Where the items of the list stand: `margin` is what each begins with, `end` what follows the last."""

    margin: str
    starts: list[int]
    names: list[ServiceName]
    end: int


@dataclass(frozen=True, slots=True)
class Version:
    """A text, what it offers, and where its services stand, if that is plain enough to go by."""

    text: str
    offer: Offer
    items: _Items | None


def read(text: str, path: str, before: Version | None = None) -> Version:
    """What *text* offers, *before* being the version before it; `SourceError` tells all that is wrong."""
    if before and before.items and _is_plain(text):
        changed = _changed(before, before.items, text)
        if changed:
            return changed
    offer, root = parse_document(text, path)
    return Version(text, offer, _items(text, root, offer) if _is_plain(text) else None)


def _is_plain(text: str) -> bool:
    """Whether its lines are what YAML takes for lines."""
    return text.isascii() and "\r" not in text


def _changed(before: Version, items: _Items, text: str) -> Version | None:
    """The version that is *text*; None if it is not sure what a part of it means."""
    old, starts = before.text, items.starts
    begin, tail = _common(old, text)
    # From the last item that surely begins where it did, as what is new may belong to it, to the first that
    # is as it was.
    first = bisect_right(starts, begin - len(items.margin)) - 1
    last = bisect_left(starts, len(old) - tail)
    if first < 0 or len(old) - tail > items.end:
        return None
    grown = len(text) - len(old)
    until = starts[last] if last < len(starts) else items.end
    part = text[starts[first] : until + grown]
    found = _services(part, items.margin) if part.endswith("\n") else None
    if found is None:
        return None
    offsets, values = found
    gone, fresh = items.names[first:last], {value.service: value for value in values}
    services = dict(before.offer.services)
    if len(fresh) < len(values) or any(name in services for name in fresh.keys() - set(gone)):
        return None
    for name in set(gone) - fresh.keys():
        del services[name]
    services |= fresh
    moved = _Items(
        items.margin,
        [*starts[:first], *(starts[first] + at for at in offsets), *map(grown.__add__, starts[last:])],
        [*items.names[:first], *fresh, *items.names[last:]],
        items.end + grown,
    )
    return Version(text, replace(before.offer, services=services), moved)


def _services(part: str, margin: str) -> tuple[list[int], list[LocalService]] | None:
    """The services that *part* of a list says, each with its place there; None unless it is all plain."""
    if any(bound in f"\n{part}" for bound in _BOUNDS):
        return None
    heading = f"{_SECTION}:\n"
    try:
        nodes = _listed(compose(heading + part))
    except Malformed:
        return None
    offsets = _offsets(heading + part, nodes, margin)
    problems = Problems()
    values = [read_service(Cursor(node, node.place, "", problems)) for node in nodes]
    good = [value for value in values if value is not None]
    if offsets is None or offsets[:1] != [len(heading)] or len(good) < len(nodes) or problems.lines():
        return None
    return [offset - len(heading) for offset in offsets], good


def _listed(root: Node) -> list[Node]:
    """The items of a document that is a list of services and nothing else."""
    if isinstance(root, Table) and list(root.entries) == [_SECTION]:
        section = root.entries[_SECTION]
        return section.items if isinstance(section, Listing) else []
    return []


def _items(text: str, root: Node, offer: Offer) -> _Items | None:
    """Where the services of a whole *text* stand, if each begins on a line of its own, and alike."""
    section = root.entries.get(_SECTION) if isinstance(root, Table) and root.place.column == 1 else None
    if not isinstance(root, Table) or not isinstance(section, Listing) or not section.items:
        return None
    lines, first = _lines(text), section.items[0].place
    margin = text[lines[first.line - 1] :][: first.column - 1]
    starts = _offsets(text, section.items, margin) if _MARGIN.fullmatch(margin) else None
    after = [lines[place.line - 1] for place in root.key_places.values() if place.line > first.line]
    return _Items(margin, starts, list(offer.services), min(after, default=len(text))) if starts else None


def _offsets(text: str, nodes: list[Node], margin: str) -> list[int] | None:
    """Where the line of each of *nodes* begins; None unless each has a line, and *margin* before it."""
    lines = _lines(text)
    offsets = [lines[node.place.line - 1] for node in nodes]
    alike = all(
        node.place.column == len(margin) + 1 and text.startswith(margin, offset)
        for node, offset in zip(nodes, offsets, strict=True)
    )
    return offsets if offsets and alike else None


def _lines(text: str) -> list[int]:
    """Where each line begins."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts


def _common(old: str, new: str) -> tuple[int, int]:
    """How many characters two texts share at their beginning, and how many of the others at their end."""
    most = min(len(old), len(new))
    begin = next((at for at in range(0, most, _BLOCK) if not new.startswith(old[at : at + _BLOCK], at)), most)
    begin += next(n for n in count() if begin + n >= most or old[begin + n] != new[begin + n])
    most -= begin
    end = next(
        (
            n
            for n in range(0, most, _BLOCK)
            if old[max(len(old) - n - _BLOCK, begin) : len(old) - n]
            != new[max(len(new) - n - _BLOCK, begin) : len(new) - n]
        ),
        most,
    )
    end += next(n for n in count() if end + n >= most or old[-1 - end - n] != new[-1 - end - n])
    return begin, min(end, most)
