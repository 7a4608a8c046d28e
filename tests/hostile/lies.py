"""Every lie that can be told in a message: made from its schema, so that a later field is lied in too.

A message is walked together with its type. Each place in it has lies of its kind: others' names, what is not
granted, times of long ago, numbers that are none, far too much of something, another type, or nothing.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Final, TypeAlias

import msgspec
from msgspec import inspect

from tests.hostile.strategies import Value

Path: TypeAlias = tuple[str | int, ...]
Lie: TypeAlias = tuple[Path, Value]

_DROPPED: Final = "\0dropped"

_WORDS: Final[tuple[Value, ...]] = (
    *("cloud", "edge", "shop", "pay", "pay/ledger", "shop/cart", "../edge", "gw-1", "*", ""),
    *("127.0.0.1", "::1", "localhost", "169.254.169.254", "224.0.0.1", "0.0.0.0", "241.0.0.1"),
    *("198.51.100.7", "evil.example", "192.0.2.7", "spiffe://edge.fed.example/agent", "0.0.0.0/0"),
    *("fedgate.v1.Member", "fedgate.v1.Import", "fedgate.v1.Federation", "fedgate.v1.Leave"),
    *("é", "\0", "x" * 300, "x" * 70_000, 7, None, []),
)
_NUMBERS: Final[tuple[Value, ...]] = (-1, 0, 1, 65_536, 1 << 31, 1 << 62, -(1 << 62), 1e308, "7", None, True)
_TIMES: Final[tuple[Value, ...]] = (
    *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("2026-06-01T12:00:00", 0, None, "long ago"),
)
_LISTS: Final[tuple[Value, ...]] = ([], None, {}, "x", [None])
_TABLES: Final[tuple[Value, ...]] = ({}, None, [], {"": ""}, {"edge": None})
_OBJECTS: Final[tuple[Value, ...]] = ({}, None, [], "x", 1)
# What a member might add, in the hope that somebody believes it.
_CLAIMS: Final[dict[str, Value]] = {
    "cluster": "edge",
    "first_exported_at": "1970-01-01T00:00:00Z",
    "since": "1970-01-01T00:00:00Z",
    "granted": True,
    "by": "edge",
    "callers": None,
    "index": 1,
    "trust_domain": "edge.fed.example",
    "anchors": ["x"],
}


def lies(kind: inspect.Type, value: Value, path: Path = ()) -> Iterator[Lie]:
    """Every lie in *value*, which is a good one of *kind*, and where it stands."""
    match kind:
        case inspect.UnionType(types=types):
            yield path, None
            fitting = [each for each in types if not isinstance(each, inspect.NoneType)]
            for each in fitting[:1] if value is None else fitting:
                yield from lies(each, value, path)
        case inspect.DataclassType() | inspect.StructType():
            yield from _in_object(kind, value, path)
        case inspect.ListType() | inspect.VarTupleType():
            yield from _in_list(kind.item_type, value, path)
        case inspect.DictType():
            yield from _in_table(kind, value, path)
        case inspect.StrType() | inspect.BytesType() | inspect.RawType():
            yield from ((path, word) for word in _WORDS)
        case inspect.EnumType(cls=cls):
            yield from ((path, each) for each in (*(member.value for member in cls), "Evil", 1, None))
        case inspect.BoolType():
            yield from ((path, each) for each in (True, False, "true", None, 1))
        case inspect.DateTimeType():
            yield from ((path, each) for each in _TIMES)
        case _:
            yield from ((path, each) for each in _NUMBERS)


def _in_object(kind: inspect.DataclassType | inspect.StructType, value: Value, path: Path) -> Iterator[Lie]:
    yield from ((path, each) for each in _OBJECTS)
    if not isinstance(value, dict):
        return
    yield path, {**value, **{claim: told for claim, told in _CLAIMS.items() if claim not in value}}
    for each in kind.fields:
        if each.encode_name in value:
            inner = (*path, each.encode_name)
            yield inner, _DROPPED
            yield from lies(each.type, value[each.encode_name], inner)


def _in_list(item: inspect.Type, value: Value, path: Path) -> Iterator[Lie]:
    yield from ((path, each) for each in _LISTS)
    if isinstance(value, list) and value:
        yield path, value * 2
        yield path, value[:1] * 5_000
        yield from lies(item, value[0], (*path, 0))


def _in_table(kind: inspect.DictType, value: Value, path: Path) -> Iterator[Lie]:
    yield from ((path, each) for each in _TABLES)
    if isinstance(value, dict) and value:
        key, inner = next(iter(value.items()))
        yield from lies(kind.value_type, inner, (*path, key))


def told(value: Value, *some: Lie) -> Value:
    """*value* with *some* lies in it; one whose place is gone by then is not told."""
    whole: dict[str, Value] = {"": deepcopy(value)}
    for path, lie in some:
        _put(whole, ("", *path), lie)
    return whole.get("")


def _put(whole: Value, path: Path, lie: Value) -> None:
    *way, last = path
    for step in way:
        if not _has(whole, step):
            return
        whole = _at(whole, step)
    if isinstance(whole, dict) and isinstance(last, str):
        whole[last] = deepcopy(lie)
        if lie == _DROPPED:
            del whole[last]
    elif isinstance(whole, list) and isinstance(last, int) and last < len(whole):
        whole[last] = deepcopy(lie)


def _has(whole: Value, step: str | int) -> bool:
    if isinstance(whole, dict):
        return isinstance(step, str) and step in whole
    return isinstance(whole, list) and isinstance(step, int) and step < len(whole)


def _at(whole: Value, step: str | int) -> Value:
    if isinstance(whole, dict) and isinstance(step, str):
        return whole[step]
    return whole[step] if isinstance(whole, list) and isinstance(step, int) else None


def of(kind: type) -> inspect.Type:
    """The schema of *kind*."""
    return inspect.type_info(kind)


def plain(value: object) -> Value:
    """*value* as what it is made of, with bytes left as they are."""
    made: Value = msgspec.to_builtins(value, builtin_types=(bytes,))
    return made
