"""What gateways find out about each other, as one cell of a table."""

from datetime import datetime, timedelta

from clusters.durations import moment, short
from federation.commands.answers import items, record
from federation.table import Record

_FRESH = timedelta(seconds=5)


def probes_column(shown: Record, now: datetime) -> str:
    """`2/2 up`: how many of the probes go well, and how long ago that was said if it is not said now."""
    probes = [record(each) for each in items(shown.get("probes"))]
    if not probes:
        return "-"
    up = sum(probe.get("up") is True or probe.get("state") == "up" for probe in probes)
    said = [moment(str(probe["said"])) for probe in probes if probe.get("said")]
    age = now - min(said, default=now)
    return f"{up}/{len(probes)} up" + (f", said {short(age)} ago" if age > _FRESH else "")
