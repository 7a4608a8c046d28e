"""Who is away: written down when a member's lease has been gone for a while, taken back when it connects.

What the hub does not know it does not say. When it starts, when it was stopped, or when its store was away,
it has not heard of anybody for some time: then everybody has time again to come back.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final, NoReturn

from clusters.names import ClusterName
from federation.errors import FederationError
from federation.log import Log
from federation.registry.clusterset import Clusterset
from federation.registry.members import Members

log = Log(__name__)

TICK: Final = 0.5
SETTLE: Final = 1.0
"""Seconds in which a member whose lease has ended may come back before all are told, as after a restart."""
AFRESH: Final = 15.0
"""Seconds in which everybody may come back after we heard of nobody: agents try again every 5 s at least."""
_STALL: Final = 5.0


class Absence:
    """Who is missing, and since when. Told the time, which does not jump; pure."""

    def __init__(self, now: float) -> None:
        self._missing: dict[ClusterName, float] = {}
        self._looked = now
        self._all_until = now + AFRESH

    def look(self, connected: Mapping[ClusterName, bool], now: float) -> Collection[ClusterName]:
        """Take in who is *connected* of all that were ever seen; gives those that are away.

        Look every `TICK`: a look that comes late was held up, and so perhaps was whoever is missing.
        """
        if now - self._looked > _STALL:
            self._all_until = now + AFRESH
        self._looked = now
        gone = {name for name, there in connected.items() if not there}
        self._missing = {name: self._missing.get(name, now) for name in gone}
        if now < self._all_until:
            return ()
        return [name for name, since in self._missing.items() if now - since >= SETTLE]


async def watch(
    clusterset: Clusterset,
    members: Members,
    now: Callable[[], datetime],
    clock: Callable[[], float] = time.monotonic,
) -> NoReturn:
    """Write down who is away, for ever. Any number of hubs may: the first one's word counts."""
    absence = Absence(clock())
    while True:
        seen = {name: clusterset.connected(name) for name in clusterset.clusters if clusterset.status(name)}
        for name in absence.look(seen, clock()):
            if clusterset.away(name) is None:
                try:
                    await members.miss(name, now())
                except FederationError as error:
                    log.warning("absence not written down", cluster=name, reason=str(error))
                else:
                    log.warning("cluster away", cluster=name)
        await asyncio.sleep(TICK)
