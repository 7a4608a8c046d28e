"""What only the elected hub does, for as long as it is elected."""

import asyncio
from typing import Final

from clusters.clock import utc_now
from federation.errors import FederationError
from federation.hub_core import Core
from federation.log import Log
from federation.trust.follower import Follower
from pki.errors import PkiError

log = Log(__name__)

_UPKEEP_SECONDS: Final = 600.0
_AGAIN: Final = 2.0


class Office:
    """The tasks of the elected; those of the rollover are its steward's."""

    def __init__(self, core: Core, follower: Follower) -> None:
        self._core = core
        self._follower = follower

    async def run(self) -> None:
        """Begin with each term, and stop when it is over, for ever."""
        async with asyncio.TaskGroup() as group:
            work: asyncio.Task[None] | None = None
            async for term in self._core.election.term:
                if work is not None:
                    work.cancel()
                    await asyncio.wait([work])
                work = group.create_task(self._serve()) if term is not None else None

    async def _serve(self) -> None:
        """All of it, until cancelled; what goes wrong is said, and tried again."""
        while True:
            try:
                await self._core.steward.take_office(self._core.federation())
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._tidy())
                    group.create_task(self._follow_bundles())
            except* (FederationError, PkiError, OSError) as errors:
                log.warning("work of the elected hub interrupted", reason=str(errors.exceptions[0]))
            await asyncio.sleep(_AGAIN)

    async def _tidy(self) -> None:
        """Renew what was due while nobody was elected, and sweep up now and then."""
        await self._core.upkeep.rotate()
        while True:
            await self._core.election.registry().tidy(utc_now())
            await asyncio.sleep(_UPKEEP_SECONDS)

    async def _follow_bundles(self) -> None:
        await self._follower.run(lambda: self._core.election.registry().trusts)
