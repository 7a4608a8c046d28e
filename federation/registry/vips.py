"""Which VIP index a new service gets: decisions only.

An index stays with its service. One that lost its last exporter rests for a day before another
service may have it, so that no cache anywhere leads a caller to a stranger; its own service may
come back to it at any time. The lowest index is taken first: short ranges stay usable.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from federation.registry.records import FreedIndex

REST = timedelta(hours=24)
FIRST = 1
"""Index 0 is the range's own address."""


def choose(never_used: int, freed: Iterable[FreedIndex], now: datetime, capacity: int) -> int | None:
    """The lowest index that may be given to a new service, or `None` when all are taken.

    *never_used* and everything above it, up to *capacity*, is free.
    """
    rested = [one.index for one in freed if now - one.freed_at >= REST and one.index <= capacity]
    fresh = [never_used] if never_used <= capacity else []
    return min(rested + fresh, default=None)
