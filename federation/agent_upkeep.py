"""What an agent keeps fresh, by itself and when told to: its issuing CA, its SVIDs, its link to the hub."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from federation.log import Log
from federation.programming import Programmes
from federation.renewal import Renewal
from federation.rotating import Item, OneAtATime, Rotated
from federation.svids import Svid, Svids
from gateway.ads import GatewayStatus
from gateway.delta import Standing
from pki.errors import PkiError

log = Log(__name__)

LONGEST_TICK: Final = 5.0
_SHORTEST_TICK: Final = 0.2
_TICKS_IN_A_LIFE: Final = 20
_PATIENCE: Final = 20.0  # with those who have not acknowledged an anchor, when somebody waits for the answer
_GIVEN_WITHIN: Final = 5.0
_POLL: Final = 0.05


class Kept(Protocol):
    """Something else that is renewed."""

    def due(self, *, everything: bool) -> tuple[Item, ...]: ...
    async def rotate(self, *, force: bool = False) -> Rotated: ...


class Upkeep:
    """The renewals of one agent; *beside* are those that it has nothing to do with but to tell of them.

    *own* gives the agent's SVID, and *relink* connects to the hub with a newer. *reconsider* is whatever has
    to be looked at again as time passes.
    """

    def __init__(
        self,
        renewal: Renewal,
        svids: Svids,
        programmes: Programmes,
        own: Callable[[], Svid],
        relink: Callable[[], None],
        gateways: Callable[[], tuple[GatewayStatus, ...]],
        reconsider: Callable[[], None],
        now: Callable[[], datetime],
        beside: Sequence[Kept] = (),
    ) -> None:
        self.renewal = renewal
        self._beside = beside
        self._svids = svids
        self._programmes = programmes
        self._own = own
        self._relink = relink
        self._gateways = gateways
        self._reconsider = reconsider
        self._now = now
        self._work = OneAtATime(self._do)

    async def run(self) -> None:
        """Renew what is due, for ever. Nobody has to call `rotate` for that."""
        while True:
            await asyncio.sleep(self._pause())
            await self.tick()

    async def tick(self) -> None:
        """Do what is due, as far as it can be done without waiting for anybody."""
        self._reconsider()
        self.renew_svids()
        await self._work.alone(self.renewal.advance)

    def renew_svids(self) -> int:
        """Mint the SVIDs that are due, and have everybody use them; says how many."""
        now, before = self._now(), {svid.serial for svid in self._svids.all()}
        if not self._svids.is_due(now):
            return 0
        self._programmes.renew()
        try:
            own = self._own()
        except PkiError as error:
            log.error("no certificate for the agent itself", reason=str(error))
        else:
            if own.serial not in before:
                self._relink()
        self._svids.drop_expired(now)
        return len({svid.serial for svid in self._svids.all()} - before)

    async def rotate(self, *, force: bool = False, dry_run: bool = False) -> Rotated:
        """Do what is due (with *force* everything) and say what came of it; with *dry_run* only say it."""
        if dry_run:
            return Rotated(due=self._due(everything=force))
        return await self._work.rotate(force=force)

    async def _do(self, force: bool) -> Rotated:
        outcome = await self.renewal.complete(_PATIENCE, force=force)
        if force:
            self._svids.outdate()
        if count := self.renew_svids():
            outcome = outcome.and_then(Rotated(done=(Item("SVIDs", str(count)),)))
        for kept in self._beside:
            outcome = outcome.and_then(await kept.rotate(force=force))
        if force:
            outcome = outcome.and_then(Rotated(lagging=await self._not_given()))
        return outcome

    async def _not_given(self) -> tuple[Item, ...]:
        """The gateways that have not taken their new certificates in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _GIVEN_WITHIN
        while True:
            late = [each for each in self._gateways() if each.standing is not Standing.SYNCED]
            if not late or loop.time() > deadline:
                return tuple(
                    Item("gateway", each.spec.name, "it has not taken its new certificates") for each in late
                )
            await asyncio.sleep(_POLL)

    def _due(self, *, everything: bool) -> tuple[Item, ...]:
        beside = [item for kept in self._beside for item in kept.due(everything=everything)]
        count = len(self._svids.all()) if everything else self._svids.count_due(self._now())
        svids = (Item("SVIDs", str(count)),) if count else ()
        return (*((self.renewal.item,) if everything else self.renewal.due()), *svids, *beside)

    def _pause(self) -> float:
        """Seconds until there may be something to do: short where lives are short."""
        active, now = self.renewal.active, self._now()
        due = self._svids.next_due(now)
        pause = (active.not_after - active.not_before).total_seconds() / _TICKS_IN_A_LIFE
        if due is not None:
            pause = min(pause, (due - now).total_seconds())
        return min(LONGEST_TICK, max(_SHORTEST_TICK, pause))
