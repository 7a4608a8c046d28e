"""Records as tables for people: which columns, how wide, what colour, and what to do on a narrow terminal.

A command describes its table once, as columns; every form of output is made of the same records.
Colour only underlines what a word already says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from clusters.durations import relative

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Record: TypeAlias = Mapping[str, Json]

_GOOD = frozenset(
    {"active", "connected", "ok", "ready", "synced", "unused", "valid", "joined", "noerror", "good"}
)
_BAD = frozenset(
    {"fail", "nack", "failed", "lost", "refused", "broken", "evicted", "disconnected", "unread", "nxdomain"}
    | {"down", "expired"}
)
_GREEN, _YELLOW, _RED, _RESET = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_GAP = 3
_NARROWEST = 12


@dataclass(frozen=True, slots=True)
class Terminal:
    """What stdout can do; `width` is None when it is no terminal, and then nothing is ever cut."""

    width: int | None = None
    color: bool = False
    unicode: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """One column: where its text comes from, and how it may behave when the terminal is narrow."""

    header: str
    show: Callable[[Record, datetime], str]
    wide: bool = False
    flexible: bool = False
    state: bool = False


def text(value: Json) -> str:
    """A value as one cell: lists by commas, nothing as `-`, control characters made harmless."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)
    if isinstance(value, Mapping):
        return ",".join(f"{text(key)}={text(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence):
        return ",".join(text(inner) for inner in value)
    return str(value)


def plain(
    header: str, key: str, *, wide: bool = False, flexible: bool = False, state: bool = False
) -> Column:
    """A column that shows the record's *key* as it is."""
    return Column(header, lambda record, _: text(record.get(key)), wide, flexible, state)


def counted(header: str, key: str, *, wide: bool = False) -> Column:
    """A column that shows a number, or the length of a list."""

    def show(record: Record, _: datetime) -> str:
        value = record.get(key)
        return str(len(value)) if isinstance(value, list) else text(value)

    return Column(header, show, wide)


def when(header: str, key: str, *, wide: bool = False) -> Column:
    """A column that shows a time as a distance from now."""

    def show(record: Record, now: datetime) -> str:
        value = record.get(key)
        return relative(value, now) if isinstance(value, str) and value else text(value)

    return Column(header, show, wide)


@dataclass(frozen=True, slots=True)
class Table:
    """What to print of records of one kind: *key* is their place in the answer, *name* their own."""

    key: str
    columns: tuple[Column, ...]
    name: Callable[[Record], str] = field(default=lambda record: text(record.get("name")))
    empty: str = ""


def layout(
    records: Sequence[Record], columns: Sequence[Column], wide: bool, terminal: Terminal, now: datetime
) -> list[str]:
    """Lay *records* out as a table; where even a cut one does not fit, as one block for each record."""
    shown = [column for column in columns if wide or not column.wide]
    rows = [[column.show(record, now) for column in shown] for record in records]
    widths = [max(len(column.header), *(len(row[i]) for row in rows)) for i, column in enumerate(shown)]
    if terminal.width is not None:
        fitted = _fit(widths, shown, terminal.width)
        if fitted is None:
            return _blocks(records, shown, terminal, now)
        widths = fitted
    header = (" " * _GAP).join(
        column.header.ljust(width) for column, width in zip(shown, widths, strict=True)
    )
    return [header.rstrip(), *(_row(row, shown, widths, terminal) for row in rows)]


def _fit(widths: Sequence[int], columns: Sequence[Column], width: int) -> list[int] | None:
    """Take what is too much from the widest flexible columns, or give up."""
    fitted = list(widths)
    excess = sum(fitted) + _GAP * (len(fitted) - 1) - width
    while excess > 0:
        spare = [i for i, column in enumerate(columns) if column.flexible and fitted[i] > _NARROWEST]
        if not spare:
            return None
        widest = max(spare, key=lambda i: fitted[i])
        fitted[widest] -= 1
        excess -= 1
    return fitted


def _row(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int], terminal: Terminal) -> str:
    cells = []
    for cell, column, width in zip(row, columns, widths, strict=True):
        ellipsis = "…" if terminal.unicode else "~"
        cut = cell if len(cell) <= width else cell[: width - 1] + ellipsis
        padded = cut.ljust(width)
        cells.append(paint(cut, cell, terminal) + padded[len(cut) :] if column.state else padded)
    return (" " * _GAP).join(cells).rstrip()


def _blocks(
    records: Sequence[Record], columns: Sequence[Column], terminal: Terminal, now: datetime
) -> list[str]:
    """One block for each record, with an empty line between two."""
    lines: list[str] = []
    for record in records:
        lines += [*([""] if lines else []), *block(columns, record, terminal, now)]
    return lines


def block(columns: Sequence[Column], record: Record, terminal: Terminal, now: datetime) -> list[str]:
    """Every column of *record*, one to a line; a long line is left for the terminal to fold."""
    width = max(len(column.header) for column in columns) + 1
    return [
        f"{column.header + ':':<{width}} "
        + (
            paint(column.show(record, now), column.show(record, now), terminal)
            if column.state
            else column.show(record, now)
        )
        for column in columns
    ]


def paint(cell: str, word: str, terminal: Terminal) -> str:
    """Colour *cell* by what *word* says: good, bad, or neither."""
    return f"{_color(word)}{cell}{_RESET}" if terminal.color and cell != "-" else cell


def _color(word: str) -> str:
    folded = word.lower()
    return _GREEN if folded in _GOOD else _RED if folded in _BAD else _YELLOW
