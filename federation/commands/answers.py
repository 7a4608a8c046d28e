"""Taking the admin API's answers apart, when they are what the contract says."""

from collections.abc import Callable, Sequence

from federation.errors import BadAnswer, NotFound
from federation.table import Json, Record, text


def records(answer: Record, key: str) -> list[Record]:
    """The list of objects under *key*."""
    found = answer.get(key)
    if not isinstance(found, list):
        raise BadAnswer(key)
    return [record for record in found if isinstance(record, dict)]


def record(value: Json) -> Record:
    """An object, or an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def items(value: Json) -> list[Json]:
    """A list, or an empty one where there is none."""
    return value if isinstance(value, list) else []


def named(
    kind: str,
    name: str,
    among: Sequence[Record],
    name_of: Callable[[Record], str] = lambda record: text(record.get("name")),
) -> Record:
    """The one of *among* that is called *name*."""
    for candidate in among:
        if name_of(candidate) == name:
            return candidate
    raise NotFound(kind, name, map(name_of, among))
