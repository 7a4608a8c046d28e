"""Checks that are made in their time, and what is told when an endpoint has turned."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from clusters.health import CheckKind, HealthCheck, Verdict
from clusters.model import Offer
from federation.health.checker import AT_ONCE, Checker
from tests.builders import local_service

CHECK = HealthCheck(CheckKind.TCP, 80, interval=0.1, timeout=5)
A, B = "10.0.0.1", "10.0.0.2"
CATALOG = local_service("catalog", A, B, health=CHECK)
OFFER = Offer({CATALOG.service: CATALOG})


class Endpoints:
    """Endpoints that answer as they are told; by default all do."""

    def __init__(self) -> None:
        self.says: dict[str, Verdict | None] = {}
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.turns = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.ahead = 0.0

    def clock(self) -> float:
        return time.monotonic() + self.ahead

    async def ask(self, address: str, _: HealthCheck) -> Verdict | None:
        self.asked[address] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.hold is not None:
            await self.hold.wait()
        self.at_once -= 1
        return self.says.get(address, Verdict(True))


@asynccontextmanager
async def checking(endpoints: Endpoints, offer: Offer = OFFER) -> AsyncIterator[Checker]:
    checker = Checker(lambda: datetime.now(UTC), endpoints.ask, clock=endpoints.clock, chance=lambda: 0.0)
    checker.follow(offer)
    task = asyncio.create_task(checker.run(endpoints.turns.set))
    try:
        yield checker
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def turned(endpoints: Endpoints) -> None:
    async with asyncio.timeout(10):
        await endpoints.turns.wait()
    endpoints.turns.clear()


async def test_an_endpoint_that_goes_down_is_told_of_and_so_is_its_return() -> None:
    endpoints = Endpoints()
    async with checking(endpoints) as checker:
        endpoints.says[A] = Verdict(False, "connection refused")
        await turned(endpoints)
        assert checker.follow(OFFER).services[CATALOG.service].ready == (B,)
        del endpoints.says[A]
        await turned(endpoints)
        assert checker.follow(OFFER).services[CATALOG.service].ready == (A, B)


async def test_every_endpoint_is_asked_again_and_again() -> None:
    endpoints = Endpoints()
    async with checking(endpoints):
        await until(lambda: endpoints.asked[A] > 3 and endpoints.asked[B] > 3)
    assert not endpoints.turns.is_set()


async def test_what_could_not_be_asked_says_nothing() -> None:
    endpoints = Endpoints()
    endpoints.says[A] = None
    async with checking(endpoints) as checker:
        await until(lambda: endpoints.asked[A] > 3)
        assert checker.standings.of(CATALOG.service)[A].state == "believed"
        assert checker.tally["unasked"] > 2


async def test_one_that_is_named_later_is_checked_at_once_and_one_that_is_gone_no_more() -> None:
    endpoints = Endpoints()
    slow = replace(CATALOG, endpoints=(A,), health=replace(CHECK, interval=3600))
    async with checking(endpoints, Offer({slow.service: slow})) as checker:
        await until(lambda: endpoints.asked[A] == 1)
        other = replace(slow, endpoints=(B,))
        checker.follow(Offer({slow.service: other}))
        await until(lambda: endpoints.asked[B] == 1)
        assert checker.standings.of(slow.service).keys() == {B}


async def test_of_thousands_so_many_are_asked_at_once_and_the_others_after_them() -> None:
    endpoints = Endpoints()
    endpoints.hold = asyncio.Event()
    many = tuple(f"10.1.{n >> 8}.{n & 255}" for n in range(3 * AT_ONCE))
    crowd = local_service("crowd", *many, health=replace(CHECK, interval=3600))
    async with checking(endpoints, Offer({crowd.service: crowd})):
        await until(lambda: endpoints.at_once == AT_ONCE)
        endpoints.hold.set()
        await until(lambda: len(endpoints.asked) == len(many))
    assert endpoints.most_at_once == AT_ONCE


async def test_a_check_that_was_held_up_here_does_not_count_against_an_endpoint() -> None:
    endpoints = Endpoints()
    endpoints.says[A] = Verdict(False, "no answer within 5 s")
    endpoints.hold = asyncio.Event()
    async with checking(endpoints, Offer({CATALOG.service: replace(CATALOG, endpoints=(A,))})) as checker:
        await until(lambda: endpoints.at_once == 1)
        endpoints.ahead = CHECK.timeout + 1
        endpoints.hold.set()
        await until(lambda: checker.tally["unasked"] == 1)
