"""What commands print: data on stdout in the form that was asked for, talk on stderr."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

from federation.table import Json, Record, Table, Terminal, block, layout, paint


class Format(StrEnum):
    """The forms of `-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def detect_terminal(stream: TextIO, environ: Mapping[str, str]) -> Terminal:
    """See what *stream* can do; `NO_COLOR` and `TERM=dumb` are obeyed, and `COLUMNS` too."""
    tty = stream.isatty()
    color = tty and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    unicode = (stream.encoding or "ascii").lower().replace("-", "").startswith("utf")
    return Terminal(shutil.get_terminal_size().columns if tty else None, color, unicode)


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how a command prints. `now` is asked for, so that tests can say when it is."""

    format: Format = Format.TABLE
    terminal: Terminal = field(default_factory=Terminal)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @classmethod
    def detect(cls, form: Format) -> "Output":
        """The output of this process."""
        return cls(form, detect_terminal(sys.stdout, os.environ))

    @property
    def for_machines(self) -> bool:
        """Whether stdout is to be one document."""
        return self.format in (Format.JSON, Format.YAML)

    def records(self, records: Sequence[Record], table: Table) -> None:
        """Print *records*, all of them."""
        if self.for_machines:
            self.document({table.key: records})
        elif self.format is Format.NAME:
            self.lines([table.name(record) for record in records])
        elif records:
            self.lines(layout(records, table.columns, self.format is Format.WIDE, self.terminal, self.now()))
        elif table.empty:
            self.say(table.empty)

    def record(self, record: Record, table: Table) -> None:
        """Print one record: the document itself, or every column, one to a line."""
        if self.for_machines:
            self.document(record)
        elif self.format is Format.NAME:
            self.lines([table.name(record)])
        else:
            self.lines(block(table.columns, record, self.terminal, self.now()))

    def document(self, value: Json) -> None:
        """Print *value* as JSON or YAML."""
        if self.format is Format.YAML:
            import yaml  # 20 ms that only this form pays for

            dumped = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
            sys.stdout.write(dumped)
        else:
            self.lines([json.dumps(value, indent=2, ensure_ascii=not self.terminal.unicode)])

    def lines(self, lines: Sequence[str]) -> None:
        """Print data."""
        sys.stdout.writelines(f"{line}\n" for line in lines)

    def say(self, message: str) -> None:
        """Talk to a person: on stderr, and not at all when a program reads."""
        if not self.for_machines:
            print(message, file=sys.stderr)

    def mark(self, status: str) -> str:
        """The sign of a check's result, in the ASCII that every terminal has if need be."""
        signs = {"ok": "√", "warn": "‼", "fail": "\N{MULTIPLICATION SIGN}"} if self.terminal.unicode else {}
        words = {"ok": "ok", "warn": "!!", "fail": "XX"}
        return self.paint(signs.get(status) or words.get(status, "?"), status)

    def paint(self, cell: str, word: str) -> str:
        """Colour *cell* by what *word* says: good, bad, or neither."""
        return paint(cell, word, self.terminal)

    def bold(self, line: str) -> str:
        """Make a heading stand out."""
        return f"\x1b[1m{line}\x1b[0m" if self.terminal.color else line
