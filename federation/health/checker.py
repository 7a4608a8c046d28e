"""Checks every endpoint in its own time, some hundreds at once, and says when one has turned.

Each check begins a little earlier or later than its interval says, so that endpoints that were named
together are not asked together for ever.
"""

import asyncio
import heapq
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

from clusters.health import HealthCheck, Verdict
from clusters.model import Offer
from federation.health import probes
from federation.health.standings import Checked, Standings
from federation.log import Log

log = Log(__name__)

AT_ONCE: Final = 512
_FIRST_WITHIN: Final = 1.0
_JITTER: Final = 0.1
_HELD_UP: Final = 0.5
"""A check that ends so many seconds after its timeout was held up here, and says nothing of the endpoint."""
_SETTLE: Final = 0.05
"""Endpoints that turn within so many seconds are told of together."""

Ask = Callable[[str, HealthCheck], Awaitable[Verdict | None]]


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    at: float
    checked: Checked = field(compare=False)


class Checker:
    """The endpoints' standings, and the checks that keep them so. For one event loop."""

    def __init__(
        self,
        now: Callable[[], datetime],
        ask: Ask = probes.ask,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.standings = Standings()
        self.tally: Counter[str] = Counter(ready=0, down=0, unasked=0)
        self._now = now
        self._ask = ask
        self._clock = clock
        self._chance = chance
        self._waiting: list[_Due] = []
        self._sooner = asyncio.Event()
        self._turned = asyncio.Event()

    def follow(self, offer: Offer) -> Offer:
        """Check from now on what *offer* asks for; gives it back with the endpoints marked that are down."""
        self._plan(self.standings.follow(offer, self._now()), 0.0, _FIRST_WITHIN)
        return self.standings.applied(offer)

    async def run(self, turned: Callable[[], None]) -> NoReturn:
        """Check for ever, and call *turned* when endpoints have come or gone."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(turned))
            free = asyncio.Semaphore(AT_ONCE)
            while True:
                checked = await self._next()
                await free.acquire()
                group.create_task(self._check(checked)).add_done_callback(lambda _: free.release())

    async def _tell(self, turned: Callable[[], None]) -> NoReturn:
        while True:
            await self._turned.wait()
            await asyncio.sleep(_SETTLE)
            self._turned.clear()
            turned()

    async def _next(self) -> Checked:
        """The next endpoint to check, when it is due."""
        while True:
            while self._waiting and self._waiting[0].at <= self._clock():
                checked = heapq.heappop(self._waiting).checked
                if self.standings.wants(checked):
                    return checked
            self._sooner.clear()
            wait = self._waiting[0].at - self._clock() if self._waiting else None
            try:
                async with asyncio.timeout(wait):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    async def _check(self, checked: Checked) -> None:
        check = checked.check
        began = self._clock()
        verdict = await self._ask(checked.address, check)
        late = self._clock() - began > check.timeout + _HELD_UP
        if verdict is None or (late and not verdict.ready):
            self.tally["unasked"] += 1
        else:
            self.tally["ready" if verdict.ready else "down"] += 1
            self._hear(checked, verdict)
        if self.standings.wants(checked):
            self._plan([checked], check.interval * (1 - _JITTER), check.interval * (1 + _JITTER))

    def _hear(self, checked: Checked, verdict: Verdict) -> None:
        if self.standings.hear(checked, verdict, self._now()):
            where = {"service": str(checked.service), "endpoint": checked.address}
            if verdict.ready:
                log.info("endpoint takes calls again", **where)
            else:
                log.warning("endpoint takes no calls", **where, reason=verdict.reason)
            self._turned.set()

    def _plan(self, many: Iterable[Checked], least: float, most: float) -> None:
        """Have *many* checked in *least* to *most* seconds."""
        for checked in many:
            wait = least + (most - least) * self._chance()
            heapq.heappush(self._waiting, _Due(self._clock() + wait, checked))
        self._sooner.set()
