"""Tells when a gateway hits one of its limits: Envoy only counts."""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Final

from gateway.admin import Admin
from gateway.errors import EnvoyFailed
from gateway.limits import REACHED

log = logging.getLogger(__name__)

_EVERY: Final = 2.0
_COUNTERS: Final = rf"({'|'.join(map(re.escape, REACHED))})$"


async def watch_limits(admin: Admin, gateway: str, every: float = _EVERY) -> None:
    """Log each limit of *gateway* that refused somebody since the last look; never returns."""
    before: Mapping[str, int] = {}
    while True:
        try:
            now = await admin.stats(_COUNTERS)
        except EnvoyFailed:
            now = before  # it is busy, or about to end: who runs it notices that
        for name, times in hits(before, now).items():
            fields = {"gateway": gateway, "limit": limit_of(name), "times": times, "counter": name}
            log.warning("gateway limit reached", extra={"fields": fields})
        before = now
        await asyncio.sleep(every)


def hits(before: Mapping[str, int], now: Mapping[str, int]) -> Mapping[str, int]:
    """By how much each counter has grown, of those that have."""
    grown = {name: count - before.get(name, 0) for name, count in now.items()}
    return {name: times for name, times in grown.items() if times > 0}


def limit_of(counter: str) -> str:
    """Which limit *counter* is about."""
    return next(limit for end, limit in REACHED.items() if counter.endswith(end))
