"""What was measured, and how it is told: ratios first, each figure with its median and its minimum.

A figure has one value a round. Rounds are interleaved, one visit to each way in turn, so that a busy
moment of the machine falls on all ways alike; a ratio is taken within each round before the median is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One figure: of which *topic*, by which *way*, *what* was measured and in which *unit*."""

    topic: str
    way: str
    what: str
    unit: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """*of* against *to*, and how much it may be at most; `at_least` turns that round."""

    title: str
    of: Key
    to: Key
    aim: float | None = None
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Aim:
    """The median of *of* is to be *most* or less."""

    title: str
    of: Key
    most: float


@dataclass(slots=True)
class Report:
    """Everything that one run has found."""

    machine: dict[str, Json] = field(default_factory=dict)
    figures: dict[Key, list[float]] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)

    def add(self, key: Key, value: float) -> None:
        """Note the value of one more round."""
        self.figures.setdefault(key, []).append(value)

    def skip(self, what: str, why: str) -> None:
        """Note what was not measured."""
        self.skipped[what] = why

    def ratio(self, ratio: Ratio) -> list[float]:
        """The ratio of each round; none if one of the two was not measured."""
        pairs = zip(self.figures.get(ratio.of, ()), self.figures.get(ratio.to, ()), strict=False)
        return [of / to for of, to in pairs if to]

    def to_json(self) -> dict[str, Json]:
        """All of it, for programs."""
        return {
            "machine": self.machine,
            "load_1min": [round(load, 2) for load in self.loads],
            "ratios": [row for row in map(self._ratio_row, self.ratios) if row],
            "aims": [row for row in map(self._aim_row, self.aims) if row],
            "figures": [
                {
                    "topic": key.topic,
                    "way": key.way,
                    "what": key.what,
                    "unit": key.unit,
                    "median": _short(median(values)),
                    "min": _short(min(values)),
                    "values": [_short(value) for value in values],
                }
                for key, values in self.figures.items()
            ],
            "skipped": dict(self.skipped),
        }

    def _ratio_row(self, ratio: Ratio) -> dict[str, Json] | None:
        values = self.ratio(ratio)
        if not values:
            return None
        middle = median(values)
        holds = (
            None if ratio.aim is None else (middle >= ratio.aim if ratio.at_least else middle <= ratio.aim)
        )
        sign = ">=" if ratio.at_least else "<="
        return {
            "ratio": ratio.title,
            "median": _short(middle),
            "min": _short(min(values)),
            "max": _short(max(values)),
            "rounds": len(values),
            "aim": None if ratio.aim is None else f"{sign} {ratio.aim:g}",
            "holds": holds,
        }

    def _aim_row(self, aim: Aim) -> dict[str, Json] | None:
        values = self.figures.get(aim.of)
        if not values:
            return None
        middle = median(values)
        return {
            "aim": f"{aim.title} <= {aim.most:g} {aim.of.unit}",
            "median": _short(middle),
            "holds": middle <= aim.most,
        }

    def to_markdown(self) -> str:
        """All of it, for people."""
        rows = [row for row in map(self._ratio_row, self.ratios) if row]
        text = [_table(("ratio", "median", "min", "max", "rounds", "aim", "holds"), rows)] if rows else []
        if rows := [row for row in map(self._aim_row, self.aims) if row]:
            text.append(_table(("aim", "median", "holds"), rows))
        topics = dict.fromkeys(key.topic for key in self.figures)
        text += [f"### {topic}\n\n{self._topic(topic)}" for topic in topics]
        text += [f"Not measured: {what}: {why}." for what, why in self.skipped.items()]
        told = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        loads = f"{min(self.loads):.2f} to {max(self.loads):.2f}" if self.loads else "not read"
        text.append(f"Machine: {told}. Load when a round began (1 min): {loads}.")
        return "\n\n".join(text) + "\n"

    def _topic(self, topic: str) -> str:
        """A row for each way, a column for each thing measured: median (minimum)."""
        keys = [key for key in self.figures if key.topic == topic]
        columns = list(dict.fromkeys(f"{key.what}, {key.unit}" for key in keys))
        rows: list[dict[str, Json]] = []
        for way in dict.fromkeys(key.way for key in keys):
            row: dict[str, Json] = {"way": way}
            for key in keys:
                if key.way == way:
                    values = self.figures[key]
                    row[f"{key.what}, {key.unit}"] = (
                        f"{_short(median(values)):g} ({_short(min(values)):g})"
                        if len(values) > 1
                        else f"{_short(values[0]):g}"
                    )
            rows.append(row)
        return _table(("way", *columns), rows)


def _short(value: float) -> float:
    """Three digits that count, as nothing here is more exact than that; whole numbers from 1,000 on."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.3g}")


def _table(columns: Sequence[str], rows: Iterable[dict[str, Json]]) -> str:
    """A Markdown table, padded so that it can be read on a terminal as well."""
    lines = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _cell(value: Json) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "MISSED"
        case float() | int():
            return f"{value:g}"
    return str(value)
