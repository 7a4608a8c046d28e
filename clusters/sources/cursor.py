"""A walk over a document that goes on after a mistake, so that all of them are told at once.

A `Cursor` is a node and the path to it. Its methods give the value, or `None` after noting a problem with
line, column and path. A field without a value is a problem too: a file that is cut short is not an
empty one.
"""

import difflib
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from clusters.errors import ClusterError, InvalidName, InvalidValue
from clusters.sources.document import Listing, Node, Place, Scalar, Table

MAX_PROBLEMS = 50

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")

T = TypeVar("T")
V = TypeVar("V")


@dataclass(slots=True)
class Problems:
    """What is wrong with a document."""

    _found: list[tuple[Place, str]] = field(default_factory=list)

    def add(self, place: Place, path: str, reason: str) -> None:
        """Note one more."""
        self._found.append((place, f"{place} {path}: {reason}" if path else f"{place}: {reason}"))

    def lines(self) -> tuple[str, ...]:
        """All of them in the document's order, each `line:column path: reason`; of very many, the first."""
        lines = [line for _, line in sorted(self._found)]
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS:] = [f"and {len(lines) - MAX_PROBLEMS} more"]
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a document. `node` is `None` where a field was left out; `place` is then its mapping's."""

    node: Node | None
    place: Place
    path: str
    problems: Problems

    @classmethod
    def at_root(cls, node: Node, problems: Problems) -> "Cursor":
        """Begin at the top of a document."""
        return cls(node, node.place, "", problems)

    @property
    def absent(self) -> bool:
        """Whether the field was left out."""
        return self.node is None

    @property
    def is_scalar(self) -> bool:
        """Whether a single word stands here."""
        return isinstance(self.node, Scalar)

    def wrong(self, reason: str) -> None:
        """Note that what stands here cannot be used."""
        self.problems.add(self.place, self.path, reason)

    def has_fields(self, *known: str) -> bool:
        """Whether this is a mapping; fields that are not *known* are noted, with what was probably meant."""
        if not isinstance(self.node, Table):
            self.wrong(self._unlike(f"want a mapping with {', '.join(known)}"))
            return False
        for key, place in self.node.key_places.items():
            if key not in known:
                self.problems.add(place, self._below(key), _unknown(key, known))
        return True

    def __getitem__(self, key: str) -> "Cursor":
        """Go to the field *key* of this mapping."""
        node = self.node.entries.get(key) if isinstance(self.node, Table) else None
        return Cursor(node, node.place if node else self.place, self._below(key), self.problems)

    def each(
        self, read: Callable[["Cursor"], T | None], key: Callable[[T], Hashable] = lambda value: value
    ) -> tuple[T, ...] | None:
        """Read every item of this list; no two may have the same *key*. A list that was left out is empty."""
        if self.absent:
            return ()
        if not isinstance(self.node, Listing):
            self.wrong(self._unlike("want a list; write [] for none"))
            return None
        values: list[T] = []
        first: dict[Hashable, Place] = {}
        for number, node in enumerate(self.node.items):
            item = Cursor(node, node.place, f"{self.path}[{number}]", self.problems)
            value = read(item)
            if value is None:
                continue
            if (earlier := first.setdefault(key(value), item.place)) is not item.place:
                item.wrong(f"given twice; the first is at {earlier}")
                continue
            values.append(value)
        return tuple(values) if len(values) == len(self.node.items) else None

    def text(self, check: Callable[[str], T], default: T | None = None) -> T | None:
        """Read a string, and let *check* make something of it; *default* is for a field left out."""
        if self.absent and default is not None:
            return default
        return self.build(lambda: _checked(check, self._scalar("want a string").text))

    def number(self, check: Callable[[int], T], default: T | None = None) -> T | None:
        """Read a whole number, as `text` does a string."""
        if self.absent and default is not None:
            return default
        return self.build(lambda: _checked(check, _whole(self._scalar("want a whole number"))))

    def flag(self, *, default: bool) -> bool | None:
        """Read `true` or `false`; *default* is for a field left out."""
        if self.absent:
            return default
        return self.build(lambda: _truth(self._scalar("want true or false")))

    def build(self, make: Callable[[], T]) -> T | None:
        """Call *make*, and note what it has against the values it is given."""
        try:
            return make()
        except ClusterError as error:
            self.wrong(str(error))
            return None

    def _scalar(self, wanted: str) -> Scalar:
        if self.absent:
            raise _Unusable("missing")
        if not isinstance(self.node, Scalar) or self.node.is_null:
            raise _Unusable(self._unlike(wanted))
        return self.node

    def _unlike(self, wanted: str) -> str:
        nothing = isinstance(self.node, Scalar) and self.node.is_null
        return f"has no value; {wanted}" if nothing else wanted

    def _below(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


class _Unusable(ClusterError):
    """What stands at a place cannot be what is wanted there."""


def _checked(check: Callable[[V], T], value: V) -> T:
    try:
        return check(value)
    except (InvalidName, InvalidValue) as error:
        raise _Unusable(f"{_quoted(value)}: {error.reason}") from error


def _whole(scalar: Scalar) -> int:
    if not scalar.plain or not _NUMBER.fullmatch(scalar.text):
        raise _Unusable(f"{_quoted(scalar.text)}: want a whole number, in digits and without quotes")
    return int(scalar.text)


def _truth(scalar: Scalar) -> bool:
    if not scalar.plain or scalar.text not in ("true", "false"):
        raise _Unusable(f"{_quoted(scalar.text)}: want true or false, without quotes")
    return scalar.text == "true"


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}…{text[-30:]}"


def _unknown(key: str, known: tuple[str, ...]) -> str:
    close = {name.lower(): name for name in known}
    meant = difflib.get_close_matches(key.lower(), close, n=1)
    return (
        f"unknown field; did you mean {close[meant[0]]}?"
        if meant
        else f"unknown field; want {', '.join(known)}"
    )
