"""Who is away is told to all; and a hub that heard of nobody for a while takes nobody for away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clusters.names import ClusterName
from federation.absence import AFRESH, SETTLE, TICK, Absence, watch
from federation.registry.mirror import Mirror
from federation.registry.records import AliveRecord, StatusRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import NOW, joined

EDGE = ClusterName("edge")


class Watched:
    """An `Absence` that is looked at every tick."""

    def __init__(self) -> None:
        self.now = 0.0
        self.absence = Absence(self.now)

    def after(self, seconds: float, **connected: bool) -> list[ClusterName]:
        """Who is away after so many seconds in which it is so."""
        end, away = self.now + seconds, list[ClusterName]()
        while self.now < end:
            self.now += TICK
            away = self.look(**connected)
        return away

    def look(self, **connected: bool) -> list[ClusterName]:
        return list(self.absence.look({ClusterName(n): there for n, there in connected.items()}, self.now))


def test_a_cluster_whose_lease_is_lost_is_away_a_little_later() -> None:
    watched = Watched()
    watched.after(AFRESH + 1, cloud=True)
    assert watched.after(SETTLE - TICK, cloud=False) == []
    assert watched.after(3 * TICK, cloud=False) == [CLOUD]


def test_a_cluster_that_is_back_at_once_was_never_away() -> None:
    watched = Watched()
    watched.after(AFRESH + 1, cloud=True)
    watched.after(SETTLE - TICK, cloud=False)
    watched.after(TICK, cloud=True)
    assert watched.after(SETTLE - TICK, cloud=False) == []


def test_a_hub_that_starts_gives_everybody_time_to_come() -> None:
    watched = Watched()
    assert watched.after(AFRESH - TICK, cloud=False, onprem=False) == []
    assert watched.after(SETTLE, cloud=False, onprem=True) == [CLOUD]


def test_a_hub_that_was_held_up_gives_everybody_time_again() -> None:
    watched = Watched()
    watched.after(AFRESH + 1, cloud=True)
    watched.now += 30
    assert watched.look(cloud=False) == []
    assert watched.after(AFRESH - TICK, cloud=False) == []
    assert watched.after(SETTLE, cloud=False) == [CLOUD]


class Ticking:
    """A clock that runs fast: two seconds at each look."""

    looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return 2.0 * self.looks


@asynccontextmanager
async def running(path: Path, clock: Ticking) -> AsyncIterator[tuple[Registry, Mirror]]:
    """A hub's registry whose clusters are watched."""
    store = await SqliteStore.open(path / "registry.db")
    registry, mirror, ready = Registry(store, capacity=10), Mirror(store), asyncio.Event()

    async def follow() -> None:
        async for _ in mirror.changes():
            ready.set()

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        await ready.wait()
        fast = group.create_task(watch(mirror.clusterset, registry.members, lambda: NOW, clock))
        yield registry, mirror
        following.cancel()
        fast.cancel()
    await store.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)


async def test_all_are_told_once_who_is_away_until_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Ticking()
    async with running(tmp_path, clock) as (registry, mirror):
        await joined(registry, ONPREM, CLOUD, EDGE)  # edge has never come
        for name in (ONPREM, CLOUD):
            await registry.members.seen(name, StatusRecord(NOW))
        await registry.members.connect(ONPREM, 60, AliveRecord(NOW))
        await until(lambda: mirror.clusterset.away(CLOUD) == NOW)
        member = mirror.clusterset.member(CLOUD)
        assert member
        assert member.away == NOW
        assert mirror.clusterset.away(ONPREM) is None
        seen = clock.looks
        await until(lambda: clock.looks > seen + 2)
        assert mirror.clusterset.away(EDGE) is None
        assert [record.getMessage() for record in caplog.records].count("cluster away") == 1
        await registry.members.connect(CLOUD, 60, AliveRecord(NOW))
        await until(lambda: mirror.clusterset.away(CLOUD) is None)
