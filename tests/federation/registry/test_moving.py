"""A registry moves from one store to another whole, or the other one says that it has not."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from federation.errors import StoreError, StoreNotEmpty, StoreUnusable
from federation.registry import keyspace
from federation.registry.identity import identity_of
from federation.registry.ledger import everything
from federation.registry.moving import UNFINISHED, move, refuse_unfinished
from federation.registry.records import AliveRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Commit, Compare, Operation, Put, Store
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import NOW, exports, joined, mirrored, service


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A registry of two clusters and more services than fit into a transaction."""
    store = await SqliteStore.open(tmp_path / "source.db")
    await identity_of(store)
    registry = Registry(store, capacity=1000)
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports(*(f"s{i}" for i in range(120))), NOW)
    await registry.members.connect(ONPREM, 60, AliveRecord(NOW))
    yield store
    await store.close()


class Failing(SqliteStore):
    """A store whose disk fails after some transactions."""

    left = 3

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        if self.left == 0:
            raise StoreError("the disk is full")
        self.left -= 1
        return await super().commit(operations, when)


async def values(store: Store) -> dict[str, bytes]:
    return {item.key: item.value async for item in everything(store, "")}


async def test_all_but_who_is_connected_and_which_store_it_was_moves(
    source: SqliteStore, store: Store
) -> None:
    there = await values(source)
    told: list[int] = []
    assert await move(source, store, told.append) == len(there) - 2 == told[-1]
    stays = (keyspace.alive(ONPREM), keyspace.IDENTITY)
    assert await values(store) == {key: value for key, value in there.items() if key not in stays}
    await refuse_unfinished(store)
    clusterset = await mirrored(store)
    assert clusterset.clusters == (CLOUD, ONPREM)
    assert len(clusterset.services) == 120
    assert not clusterset.connected(ONPREM)


async def test_what_was_moved_goes_on_where_it_was(source: SqliteStore, store: Store) -> None:
    before = (await mirrored(source)).import_(service("s7"))
    await move(source, store)
    registry = Registry(store, capacity=1000)
    await registry.offers.set_exports(CLOUD, exports("s7", "new"), NOW)
    clusterset = await mirrored(store)
    moved, new = clusterset.import_(service("s7")), clusterset.import_(service("new"))
    assert before
    assert moved
    assert new
    assert moved.index == before.index
    assert [o.cluster for o in moved.offerings] == [CLOUD, ONPREM]
    assert new.index == 121


async def test_a_store_that_has_something_is_left_as_it_is(source: SqliteStore, store: Store) -> None:
    await store.commit([Put("fedgate/federation", b"another")])
    with pytest.raises(StoreNotEmpty):
        await move(source, store)
    assert await values(store) == {"fedgate/federation": b"another"}


async def test_a_move_that_was_cut_short_is_noticed_and_done_again(
    source: SqliteStore, tmp_path: Path
) -> None:
    store = await Failing.open(tmp_path / "target.db")
    with pytest.raises(StoreError, match="the disk is full"):
        await move(source, store)
    with pytest.raises(StoreUnusable, match="only in part"):
        await refuse_unfinished(store)
    store.left = 1000
    moved = await move(source, store)
    assert len(await values(store)) == moved
    assert UNFINISHED not in await values(store)
    await store.close()


async def test_a_source_that_is_written_to_meanwhile_is_told(source: SqliteStore, tmp_path: Path) -> None:
    class Writing(SqliteStore):
        async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
            await source.commit([Put("fedgate/status/onprem", b"later")])
            return await super().commit(operations, when)

    store = await Writing.open(tmp_path / "target.db")
    with pytest.raises(StoreUnusable, match="something writes to it"):
        await move(source, store)
    with pytest.raises(StoreUnusable, match="only in part"):
        await refuse_unfinished(store)
    await store.close()
