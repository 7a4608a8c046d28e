"""A store that another one has taken the place of is not written to, and not followed on."""

import shutil
import signal
from pathlib import Path

import pytest

from federation.errors import StoreUnusable
from federation.registry import keyspace
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.identity import bound, identity_of
from federation.registry.mirror import Mirror
from federation.registry.moving import RESTORING, begin, end, fill, move
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Delete, Put, Store
from tests import requirements
from tests.builders import CLOUD, ONPREM, federation
from tests.federation.registry.etcd_server import etcd
from tests.federation.registry.test_mirror import following
from tests.federation.registry.worlds import NOW, exports, joined

ANOTHER = "another one is in its place: it has another identity"


async def test_a_store_has_one_identity_and_no_other_store_has_that(store: Store, tmp_path: Path) -> None:
    first = await identity_of(store)
    assert len(bytes.fromhex(first.decode())) == 16
    assert await identity_of(store) == first
    other = await SqliteStore.open(tmp_path / "other.db")
    assert await identity_of(other) != first
    await other.close()


async def test_a_store_that_is_not_whole_is_given_none(store: Store) -> None:
    await begin(store, RESTORING)
    with pytest.raises(StoreUnusable, match="restored into it only in part"):
        await identity_of(store)
    assert await store.get(keyspace.IDENTITY) is None


async def test_what_is_restored_or_moved_has_another(store: Store, tmp_path: Path) -> None:
    before = await identity_of(store)
    await begin(store, RESTORING, replace=True)
    await end(store)
    restored = await identity_of(store)
    other = await SqliteStore.open(tmp_path / "other.db")
    await identity_of(other)  # somebody has opened it, which makes no registry of it
    await store.commit([Put("fedgate/k", b"v")])
    assert await move(store, other) == 1
    assert await identity_of(store) == restored
    assert len({before, restored, await identity_of(other)}) == 3
    await other.close()


async def test_what_was_read_of_another_store_is_not_written_into_this_one(registry: Registry) -> None:
    hubs = await bound(registry)
    await hubs.set_federation(federation())
    await registry.store.commit([Delete(keyspace.IDENTITY)])
    await identity_of(registry.store)
    with pytest.raises(StoreUnusable, match=ANOTHER):
        await hubs.set_federation(federation(roots=("ANOTHER",)))
    assert await registry.federation() == federation()


@pytest.mark.parametrize("replace", [True, False])
async def test_a_restore_is_noticed_before_anything_of_it_is_believed(
    registry: Registry, replace: bool
) -> None:
    store = registry.store
    await identity_of(store)
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports(*(f"s{n}" for n in range(60))), NOW)
    mirror = Mirror(store, relist=600)
    changes = mirror.changes()
    await following(changes)
    await registry.set_federation(federation())
    await following(changes)  # it watches
    if replace:
        await begin(store, RESTORING, replace=True)
        await fill(store, {"fedgate/grants": b"{}"})
    else:  # found in a listing: all that was told of it is forgotten
        await store.commit([Put(keyspace.IDENTITY, b"another"), Delete(keyspace.cluster(ONPREM))])
        await store.compact((await store.range("", limit=1)).revision)
    with pytest.raises(StoreUnusable, match=ANOTHER):
        await following(changes)
    assert mirror.clusterset.clusters == (ONPREM,)


@pytest.mark.parametrize("watching", [True, False])
async def test_an_etcd_that_took_the_place_of_another_and_came_further_is_not_taken_for_it(
    tmp_path: Path, watching: bool
) -> None:
    requirements.program("etcd")
    with etcd(tmp_path) as (member,):
        location = Location((member.endpoint,), "fed")
        seen = await EtcdStore.open(location)
        before = await bound(Registry(seen, 100))
        changes = Mirror(seen, relist=600).changes()
        await following(changes)
        await before.set_federation(federation())
        if watching:
            await following(changes)
        member.signal(signal.SIGTERM)
        shutil.rmtree(tmp_path / member.name)
        member.start()
        filled = await EtcdStore.open(location)
        after = await bound(Registry(filled, 100))
        while (await filled.range("", limit=1)).revision < 100:
            await filled.commit([Put("elsewhere", b"")])
        await joined(after, CLOUD)
        await after.offers.set_exports(CLOUD, exports("cart"), NOW)
        with pytest.raises(StoreUnusable, match=ANOTHER):
            await following(changes)
        await filled.close()
        await seen.close()
