import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from clusters.model import Federation, GatewayRecord, Import, Member
from clusters.names import ClusterName
from federation.errors import FederationError, StoreUnreachable, StoreUnusable
from federation.registry import keyspace
from federation.registry.clusterset import NOTHING, Change, Clusterset
from federation.registry.mirror import Mirror
from federation.registry.records import AliveRecord, StatusRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Batch, Page, Put, Store
from tests.builders import CLOUD, ONPREM, federation
from tests.federation.registry.worlds import DAY, NOW, exports, gone, joined, mirrored, service


async def following(changes: AsyncIterator[Change]) -> Change:
    async with asyncio.timeout(10):
        return await anext(changes)


async def test_the_first_change_comes_also_when_nothing_is_stored(store: Store) -> None:
    assert await following(Mirror(store).changes()) == NOTHING


async def test_the_first_change_is_all_that_is_stored(registry: Registry, store: Store) -> None:
    await registry.set_federation(federation())
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    mirror = Mirror(store)
    assert await following(mirror.changes()) == Change(
        frozenset({service("catalog")}), frozenset({ONPREM, CLOUD}), federation=True
    )
    assert mirror.clusterset.federation == federation() == await registry.federation()


async def test_each_change_says_what_may_look_different(registry: Registry, store: Store) -> None:
    mirror = Mirror(store)
    changes = mirror.changes()
    await following(changes)
    await joined(registry, ONPREM)
    assert await following(changes) == Change(clusters=frozenset({ONPREM}))
    await registry.offers.set_exports(ONPREM, exports("catalog", "cart"), NOW)
    assert await following(changes) == Change(frozenset({service("catalog"), service("cart")}))
    assert mirror.clusterset.services == (service("cart"), service("catalog"))
    await registry.offers.set_exports(ONPREM, gone("cart"), NOW)
    assert await following(changes) == Change(frozenset({service("cart")}))
    await registry.members.seen(ONPREM, StatusRecord(NOW))
    assert await following(changes) == Change(clusters=frozenset({ONPREM}))


async def test_more_than_a_page_is_read(store: Store) -> None:
    registry = Registry(store, capacity=2000)
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports(*(f"s{i}" for i in range(1100))), NOW)
    assert len((await mirrored(store)).services) == 1100


async def test_a_record_that_makes_no_sense_is_logged_and_skipped(
    registry: Registry, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    mirror = Mirror(store)
    changes = mirror.changes()
    await following(changes)
    key = keyspace.export(ONPREM, service("catalog"))
    await store.commit([Put(key, b"?"), Put("fedgate/clusters/NOT A NAME", b"?")])
    await registry.offers.set_exports(ONPREM, exports("cart"), NOW)
    assert await following(changes) == Change(frozenset({service("cart")}))
    assert mirror.clusterset.services == (service("cart"), service("catalog"))
    assert [record.getMessage() for record in caplog.records] == ["record skipped", "record skipped"]


async def test_history_that_is_gone_is_made_up_for_by_listing_anew(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("same", "changes", "goes"), NOW)
    mirror = Mirror(store)
    changes = mirror.changes()
    await following(changes)
    await registry.offers.set_exports(ONPREM, {**exports("changes", ready=5), **gone("goes")}, NOW)
    await registry.offers.set_exports(CLOUD, exports("comes"), NOW)
    await registry.members.leave(CLOUD, NOW)
    await store.compact((await store.range("")).revision)
    assert await following(changes) == Change(
        frozenset({service("changes"), service("goes"), service("comes")}), frozenset({CLOUD})
    )
    assert seen(mirror.clusterset) == seen(await mirrored(store))
    await registry.offers.set_exports(ONPREM, exports("later"), NOW)
    assert await following(changes) == Change(frozenset({service("later")}))


class ShortPages(SqliteStore):
    """A store with short pages, in which something happens after the first one."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        page = await super().range(prefix, min(limit, 1), after_key)
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return page


async def test_what_a_later_page_has_told_is_not_undone_by_older_events(tmp_path: Path) -> None:
    store = await ShortPages.open(tmp_path / "registry.db")
    registry = Registry(store, capacity=100)
    await joined(registry, ONPREM)

    async def twice() -> None:
        for ready in (1, 2):
            await registry.offers.set_exports(ONPREM, exports("catalog", ready=ready), NOW)

    store.meanwhile = twice
    mirror = Mirror(store)
    changes = mirror.changes()
    told = []
    for ready in (3, 4):
        await following(changes)
        told.append(mirror.clusterset.exports(ONPREM)[service("catalog")].ready_endpoints)
        await registry.offers.set_exports(ONPREM, exports("catalog", ready=ready), NOW)
    assert told == [2, 3]
    await store.close()


@pytest.mark.parametrize("seed", range(4))
async def test_following_gives_what_listing_gives(store: Store, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    registry = Registry(store, capacity=6)
    mirror = Mirror(store)
    changes = mirror.changes()
    await following(changes)
    for step in range(60):
        await random_step(registry, chance, step)
        if chance.random() < 0.2:
            await registry.set_federation(federation(roots=(f"ROOT {step}",)))
            await following(changes)
        if chance.random() < 0.05:
            await store.compact((await store.range("")).revision)
    await registry.set_federation(federation(roots=("THE END",)))
    while mirror.clusterset.federation != await registry.federation():
        await following(changes)
    assert seen(mirror.clusterset) == seen(await mirrored(store))


async def random_step(registry: Registry, chance: random.Random, step: int) -> None:
    """Something that clusters do, allowed or not."""
    now = NOW + step * DAY / 4
    cluster = ClusterName(chance.choice("abc"))
    names = chance.sample([f"s{i}" for i in range(10)], 3)
    gateway = GatewayRecord("gw", (f"192.0.2.{chance.randint(1, 9)}",))
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: joined(registry, cluster, by=f"step-{step}"),
        lambda: registry.offers.set_exports(cluster, exports(*names, ready=chance.randint(0, 9)), now),
        lambda: registry.offers.set_exports(cluster, gone(*names), now),
        lambda: registry.offers.set_gateways(cluster, {"gw": gateway}),
        lambda: registry.members.connect(cluster, 10, AliveRecord(now)),
    ]
    if chance.random() < 0.1:
        steps = [lambda: registry.members.leave(cluster, now)]
    with suppress(FederationError):
        await chance.choice(steps)()


def seen(clusterset: Clusterset) -> tuple[list[Import], list[Member], list[bool], Federation | None]:
    """All that a clusterset tells."""
    connected = [clusterset.connected(name) for name in clusterset.clusters]
    return list(clusterset.imports()), list(clusterset.members()), connected, clusterset.federation


class Reticent(SqliteStore):
    """A store whose watch tells nothing."""

    async def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Batch]:
        await asyncio.Event().wait()
        yield Batch(after_revision, ())


async def test_what_a_watch_has_not_told_is_found_by_listing_anew(tmp_path: Path) -> None:
    store = await Reticent.open(tmp_path / "registry.db")
    registry = Registry(store, capacity=100)
    changes = Mirror(store, relist=0.05).changes()
    await following(changes)
    await joined(registry, ONPREM)
    assert await following(changes) == Change(clusters=frozenset({ONPREM}))
    await store.close()


class Away(SqliteStore):
    """A store that nobody can reach for a while."""

    away = False

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        if self.away:
            raise StoreUnreachable("the store", "nobody answers")
        return await super().range(prefix, limit, after_key)


async def test_a_store_out_of_reach_ends_nothing_and_is_followed_on_when_it_is_back(tmp_path: Path) -> None:
    store = await Away.open(tmp_path / "registry.db")
    registry, mirror = Registry(store, 100), Mirror(store, relist=0.02)
    changes = mirror.changes()
    await following(changes)
    store.away = True
    coming = asyncio.create_task(following(changes))
    await asyncio.wait([coming], timeout=0.1)  # it is asked for all again and again, in vain
    assert not coming.done()
    await registry.set_federation(federation())
    assert (await coming).federation
    store.away = False
    await registry.set_federation(federation(roots=("ANOTHER",)))
    assert (await following(changes)).federation
    await store.close()


class Replaced(SqliteStore):
    """A store in whose place another one comes."""

    other: SqliteStore | None = None

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        return await (super().range if self.other is None else self.other.range)(prefix, limit, after_key)


@pytest.mark.parametrize("behind", [True, False])
async def test_a_store_that_has_become_an_older_one_is_not_followed_on(tmp_path: Path, behind: bool) -> None:
    store = await Replaced.open(tmp_path / "registry.db")
    other = await SqliteStore.open(tmp_path / "other.db")
    if behind:
        await store.commit([Put("elsewhere", b"")])
    else:
        await other.commit([Put(keyspace.cluster(ONPREM), b"?")])
    await joined(Registry(store, 100), ONPREM, CLOUD)
    changes = Mirror(store, relist=0.02).changes()
    await following(changes)
    if not behind:
        for _ in range(9):
            await other.commit([Put("elsewhere", b"")])
    store.other = other
    with pytest.raises(StoreUnusable, match=r"another one is in its place: (it|fedgate/.*onprem) is at revi"):
        await following(changes)
    await store.close()
    await other.close()
