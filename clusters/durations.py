"""Spans of time as people write and read them: `90s`, `15m`, `in 13d`, `12s ago`."""

import re
from datetime import UTC, datetime, timedelta

from clusters.errors import InvalidValue

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_DAY, _HOUR, _MINUTE = 86400, 3600, 60


def parse_duration(text: str) -> timedelta:
    """Read `500ms`, `90s`, `15m`, `1h30m`, `2d`, or a plain number of seconds."""
    if _NUMBER.fullmatch(text):
        return timedelta(seconds=float(text))
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidValue("duration", text, "want a number with a unit, as in 500ms, 90s, 15m, 1h30m or 2d")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError as error:
        raise InvalidValue("duration", text, "longer than anything lives") from error


def short(span: timedelta) -> str:
    """The span in its largest unit, rounded down: `45s`, `13m`, `5h`, `89d`."""
    seconds = int(abs(span.total_seconds()))
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def moment(text: str) -> datetime:
    """Parse ISO 8601; a time without an offset is UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def relative(text: str, now: datetime) -> str:
    """Say how far *text*, an ISO 8601 time, is from *now*; what is no time is left as it is."""
    try:
        span = moment(text) - now
    except ValueError:
        return text
    if span > timedelta(seconds=1):
        return f"in {short(span)}"
    return "now" if span > timedelta(seconds=-1) else f"{short(span)} ago"
