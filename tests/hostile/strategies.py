"""How hostile input is made: what is valid, damaged byte by byte or field by field, and plain noise.

A short run is part of `make test`; `make nightly` makes 100,000 examples of every property. What each costs
counts then, so a valid input is damaged in a few places instead of being built anew.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"

SHORT: Final = 60
NIGHTLY: Final = "nightly"

# An example that takes seconds is as bad as one that crashes; a busy machine is not.
DEADLINE: Final = timedelta(seconds=10)

settings.register_profile(
    NIGHTLY,
    max_examples=100_000,
    deadline=DEADLINE,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def hostile(examples: int = SHORT) -> settings:
    """The settings of a property: so many *examples* in a short run, and the profile's in a long one."""
    if settings.get_current_profile_name() == NIGHTLY:
        return settings.get_profile(NIGHTLY)
    return settings(max_examples=examples, deadline=DEADLINE, suppress_health_check=list(HealthCheck))


# --- bytes ------------------------------------------------------------------------------------

# A script of damage, a few bytes for each step: drawn as one piece, as each draw costs time.
_STEP: Final = 6
_scripts: st.SearchStrategy[bytes] = st.binary(min_size=_STEP, max_size=3 * _STEP)


def _steps(script: bytes) -> Iterator[bytes]:
    for at in range(0, len(script) - _STEP + 1, _STEP):
        yield script[at : at + _STEP]


def damaged(corpus: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of *corpus* with bits flipped, bytes replaced, added, cut out or repeated, or another's end."""
    return st.builds(_damage, st.sampled_from(corpus), st.sampled_from(corpus), _scripts)


def _damage(whole: bytes, other: bytes, script: bytes) -> bytes:
    for step in _steps(script):
        at, given = int.from_bytes(step[1:3]) % (len(whole) + 1), step[3:]
        before, after = whole[:at], whole[at:]
        match step[0] % 6:
            case 0 if after:
                whole = before + bytes((after[0] ^ (1 << given[0] % 8),)) + after[1:]
            case 1:
                whole = before + given + after[len(given) :]
            case 2:
                whole = before + given + after
            case 3:
                whole = before + after[given[0] :]
            case 4:
                whole = before + after[: given[0]] + after
            case 5:
                whole = before + other[at:]
    return whole


def noise(most: int = 300) -> st.SearchStrategy[bytes]:
    """Any bytes."""
    return st.binary(max_size=most)


def as_text(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[str]:
    """Damaged text: what is no UTF-8 is read as Latin 1, so that it stays as long as it was."""
    return content.map(_text)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


# --- fields -----------------------------------------------------------------------------------


def nested(depth: int) -> Value:
    """A list in a list in a list."""
    inner: Value = []
    for _ in range(depth):
        inner = [inner]
    return inner


_ODD: Final[Sequence[Value]] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    65535,
    65536,
    (1 << 31) - 1,
    1 << 32,
    (1 << 63) - 1,
    -(1 << 63),
    0.5,
    1e308,
    -0.0,
    "",
    " ",
    "*",
    "/",
    "a/b/c",
    "..",
    "\0",
    "\r\n",
    "é",
    "\U0001f4a3",
    "-",
    "A",
    "1",
    "x" * 64,
    "a" * 300,
    "a." * 150,
    "9" * 400,
    "127.0.0.1",
    "::1",
    "::ffff:1.2.3.4",
    "fe80::1%eth0",
    "0.0.0.0",
    "241.0.0.0/16",
    "0.0.0.0/0",
    "::/0",
    "2026-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "spiffe://fed.example/x",
    "spiffe://*",
    b"",
    b"\xff\xfe",
    [],
    {},
    [[]],
    {"": {}},
    nested(40),
    ["x"] * 300,
)


def confused(corpus: Sequence[Value]) -> st.SearchStrategy[Value]:
    """One of *corpus* with a few fields replaced, dropped, renamed, swapped, said twice, or gone deeper."""
    return st.builds(_confuse, st.sampled_from(corpus), _scripts)


def _confuse(whole: Value, script: bytes) -> Value:
    # A copy that shares nothing, so that the corpus stays as it is.
    holder: dict[str, Value] = {"": _copy(whole)}
    for step in _steps(script):
        which, other = int.from_bytes(step[1:3]), int.from_bytes(step[3:5])
        odd = _ODD[step[5] % len(_ODD)] if step[5] < 240 else (other << 48) + which
        places = _places(holder)
        put, drop, value = places[which % len(places)]
        match step[0] % 6:
            case 0 | 1:
                put(_copy(odd))
            case 2:
                drop()
            case 3:
                put(_copy(places[other % len(places)][2]))
            case 4:
                put([_copy(value), _copy(value)])
            case 5 if isinstance(value, dict):
                value[str(odd)[:80]] = _copy(odd)
            case 5 if isinstance(value, list):
                value.extend([_copy(odd)] * (other % 3) + _as_list(_copy(list(value))))
    return holder.get("")


def _as_list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


def _copy(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copy(each) for each in value[:1000]]
    return value


_Place: TypeAlias = tuple[Callable[[Value], None], Callable[[], None], Value]


def _places(within: Value) -> list[_Place]:
    """Every place in *within*: how to put something there, how to empty it, and what is there."""
    found: list[_Place] = []
    if isinstance(within, dict):
        for key, value in within.items():
            found += [(_putter(within, key), _dropper(within, key), value), *_places(value)]
    elif isinstance(within, list):
        for index, value in enumerate(within[:50]):
            found += [(_setter(within, index), _cutter(within, index), value), *_places(value)]
    return found


def _putter(within: dict[str, Value], key: str) -> Callable[[Value], None]:
    return lambda value: within.__setitem__(key, value)


def _dropper(within: dict[str, Value], key: str) -> Callable[[], None]:
    return lambda: within.__setitem__(key, None) if key == "" else within.__delitem__(key)


def _setter(within: list[Value], index: int) -> Callable[[Value], None]:
    return lambda value: within.__setitem__(index, value)


def _cutter(within: list[Value], index: int) -> Callable[[], None]:
    return lambda: within.__delitem__(index)


def to_json(value: Value) -> bytes:
    """*value* as JSON; bytes as the text that they nearly are."""
    return json.dumps(value, default=lambda raw: bytes(raw).decode("latin-1"), ensure_ascii=False).encode(
        errors="surrogatepass"
    )


def documents(corpus: Sequence[Value]) -> st.SearchStrategy[bytes]:
    """JSON that is valid but wrong, JSON that is broken, JSON that is much too deep, and noise."""
    written = [to_json(value) for value in corpus]
    deep = st.builds(
        lambda text, depth: text[:-1] + b', "deep": ' + b"[" * depth + b"]" * depth + text[-1:],
        st.sampled_from(written),
        st.sampled_from((10, 500, 5_000, 30_000)),
    )
    return st.one_of(
        confused(corpus).map(to_json), confused(corpus).map(to_json), damaged(written), noise(), deep
    )
