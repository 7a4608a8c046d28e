"""Structured logging: a short fixed phrase, and what varies as keywords.

    log = Log(__name__)
    log.info("snapshot published", gateway=name, clusters=12)

Lines are JSON for machines, plain text when stderr is a terminal. It is stdlib logging
underneath, so lower packages and libraries that use `logging` come out the same way; they give
keywords as `extra={"fields": {...}}`.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO


class Log:
    """A logger that takes keywords. Never give it a key, a token or a certificate's body."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: object) -> None:
        """For whoever reads the code."""
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, /, **fields: object) -> None:
        """Something happened that an operator wants to find later."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, /, **fields: object) -> None:
        """Something is wrong, and we carry on."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, /, **fields: object) -> None:
        """Something failed that somebody has to look at."""
        self._logger.error(event, extra={"fields": fields})

    def exception(self, event: str, /, **fields: object) -> None:
        """A bug of ours, with its traceback; only inside an `except`."""
        self._logger.exception(event, extra={"fields": fields})


def configure(level: int | str = logging.INFO, stream: TextIO | None = None) -> None:
    """Send all that is logged in this process to *stream*, or stderr. Call it once, at the rim."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextLines() if target.isatty() else JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `event`, then the keywords."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in _fields(record).items() if key not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """One line for a person: `12:00:01 warning  snapshot kept  gateway=gw-1 reason="no such filter"`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        pairs = " ".join(f"{key}={_shown(value)}" for key, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():8} {record.getMessage()}  {pairs}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, Mapping) else {}


def _shown(value: object) -> str:
    """Quote what is not one plain word, so that a value cannot pose as a line or a key of its own."""
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else json.dumps(text)
