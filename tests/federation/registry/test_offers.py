import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clusters.model import MAX_GATEWAYS, GatewayRecord
from clusters.names import ClusterName
from clusters.services import Port
from federation.errors import ChangesRejected, Exit, UnknownCluster, VipsExhausted
from federation.registry import keyspace
from federation.registry.clusterset import Clusterset
from federation.registry.offers import SERVICES_AT_ONCE
from federation.registry.registry import Registry
from federation.registry.store import MAX_OPERATIONS, Store
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import (
    DAY,
    MINUTE,
    NOW,
    Overtaken,
    exports,
    gone,
    joined,
    mirrored,
    service,
)

GATEWAY = GatewayRecord("gw", ("192.0.2.1",))


def indexes(clusterset: Clusterset) -> dict[str, int]:
    """The VIP index of each service that somebody exports."""
    return {imported.service.name: imported.index for imported in clusterset.imports()}


async def test_a_service_gets_an_index_with_its_first_export_in_one_revision(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    before = (await store.range("")).revision
    await registry.offers.set_exports(ONPREM, exports("catalog", "cart"), NOW)
    assert (await store.range("")).revision == before + 1
    assert indexes(await mirrored(store)) == {"catalog": 1, "cart": 2}


async def test_a_second_exporter_shares_the_index(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("catalog", ready=2), NOW)
    await registry.offers.set_exports(CLOUD, exports("catalog", ready=3), NOW)
    imported = (await mirrored(store)).import_(service("catalog"))
    assert imported
    assert imported.index == 1
    assert {o.cluster: o.ready_endpoints for o in imported.offerings} == {ONPREM: 2, CLOUD: 3}


async def test_what_is_said_again_is_written_once(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    before = (await store.range("")).revision
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW + MINUTE)
    await registry.offers.set_exports(ONPREM, gone("never-exported"), NOW + MINUTE)
    assert (await store.range("")).revision == before


async def test_the_oldest_export_wins_by_the_hubs_clock_however_it_changes_later(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(CLOUD, exports("catalog", port=Port(80, "old")), NOW)
    await registry.offers.set_exports(ONPREM, exports("catalog", port=Port(80, "new")), NOW + MINUTE)
    await registry.offers.set_exports(CLOUD, exports("catalog", port=Port(80, "older")), NOW + 2 * MINUTE)
    imported = (await mirrored(store)).import_(service("catalog"))
    assert imported
    assert imported.ports == (Port(80, "older"),)
    assert imported.conflict


async def test_an_export_that_was_withdrawn_is_young_when_it_comes_back(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(CLOUD, exports("catalog", port=Port(80, "cloud")), NOW)
    await registry.offers.set_exports(ONPREM, exports("catalog", port=Port(80, "onprem")), NOW + MINUTE)
    await registry.offers.set_exports(CLOUD, gone("catalog"), NOW + 2 * MINUTE)
    await registry.offers.set_exports(CLOUD, exports("catalog", port=Port(80, "cloud")), NOW + 3 * MINUTE)
    imported = (await mirrored(store)).import_(service("catalog"))
    assert imported
    assert imported.ports == (Port(80, "onprem"),)


async def test_a_service_stays_until_its_last_exporter_withdraws_it(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM, CLOUD)
    for cluster in (ONPREM, CLOUD):
        await registry.offers.set_exports(cluster, exports("catalog"), NOW)
    await registry.offers.set_exports(ONPREM, gone("catalog"), NOW)
    assert indexes(await mirrored(store)) == {"catalog": 1}
    await registry.offers.set_exports(CLOUD, gone("catalog"), NOW)
    assert indexes(await mirrored(store)) == {}


async def test_an_index_is_no_strangers_for_a_day(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("one", "two"), NOW)
    await registry.offers.set_exports(ONPREM, gone("one"), NOW)
    await registry.offers.set_exports(ONPREM, exports("three"), NOW + DAY - MINUTE)
    assert indexes(await mirrored(store)) == {"two": 2, "three": 3}
    await registry.offers.set_exports(ONPREM, exports("four"), NOW + DAY)
    assert indexes(await mirrored(store)) == {"two": 2, "three": 3, "four": 1}
    assert await store.get(keyspace.service(service("one"))) is None


async def test_a_service_that_comes_back_has_its_old_index(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("one", "two"), NOW)
    await registry.offers.set_exports(ONPREM, gone("one"), NOW)
    await registry.offers.set_exports(CLOUD, exports("one", "new"), NOW + 2 * DAY)
    assert indexes(await mirrored(store)) == {"one": 1, "two": 2, "new": 3}
    assert (await store.range(keyspace.VIPS_FREED)).items == ()


async def test_a_service_that_lost_its_index_gets_another_one(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("one"), NOW)
    await registry.offers.set_exports(ONPREM, gone("one"), NOW)
    await registry.offers.set_exports(ONPREM, exports("two"), NOW + DAY)
    await registry.offers.set_exports(ONPREM, exports("one"), NOW + DAY)
    assert indexes(await mirrored(store)) == {"two": 1, "one": 2}


async def test_one_withdrawal_and_one_export_at_once_do_not_swap_addresses(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("old"), NOW)
    await registry.offers.set_exports(ONPREM, {**gone("old"), **exports("new")}, NOW)
    assert indexes(await mirrored(store)) == {"new": 2}


async def test_many_services_take_several_transactions_and_all_arrive(store: Store) -> None:
    registry = Registry(store, capacity=1000)
    await joined(registry, ONPREM)
    names = [f"s{i}" for i in range(3 * SERVICES_AT_ONCE + 1)]
    await registry.offers.set_exports(ONPREM, exports(*names), NOW)
    assert sorted(indexes(await mirrored(store)).values()) == list(range(1, len(names) + 1))
    await registry.offers.set_exports(ONPREM, gone(*names), NOW)
    others = [f"t{i}" for i in range(len(names))]
    await registry.offers.set_exports(ONPREM, exports(*others), NOW + DAY)
    assert sorted(indexes(await mirrored(store)).values()) == list(range(1, len(names) + 1))


async def test_when_no_address_is_left_that_is_said_and_nothing_is_half_written(store: Store) -> None:
    registry = Registry(store, capacity=2)
    await joined(registry, ONPREM)
    with pytest.raises(VipsExhausted, match="service shop/three: all 2 addresses") as refused:
        await registry.offers.set_exports(ONPREM, exports("one", "two", "three"), NOW)
    assert refused.value.exit_code is Exit.CONFLICT
    assert indexes(await mirrored(store)) == {}
    await registry.offers.set_exports(ONPREM, exports("one", "two"), NOW)
    assert indexes(await mirrored(store)) == {"one": 1, "two": 2}


async def test_a_stranger_can_export_nothing(registry: Registry, store: Store) -> None:
    with pytest.raises(UnknownCluster, match="cluster onprem is not in the clusterset"):
        await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    with pytest.raises(UnknownCluster):
        await registry.offers.set_gateways(ONPREM, {"gw": GATEWAY})
    assert (await store.range("")).items == ()


async def test_a_hub_that_was_overtaken_gives_the_next_index(tmp_path: Path) -> None:
    store = await Overtaken.open(tmp_path / "registry.db")
    here, there = Registry(store, capacity=100), Registry(store, capacity=100)
    await joined(here, ONPREM, CLOUD)
    store.meanwhile = lambda: there.offers.set_exports(CLOUD, exports("first"), NOW)
    await here.offers.set_exports(ONPREM, exports("second"), NOW)
    assert indexes(await mirrored(store)) == {"first": 1, "second": 2}
    await store.close()


async def test_an_index_that_another_hub_took_again_is_not_given_twice(tmp_path: Path) -> None:
    store = await Overtaken.open(tmp_path / "registry.db")
    here, there = Registry(store, capacity=100), Registry(store, capacity=100)
    await joined(here, ONPREM, CLOUD)
    await here.offers.set_exports(ONPREM, exports("one"), NOW)
    await here.offers.set_exports(ONPREM, gone("one"), NOW)
    store.meanwhile = lambda: there.offers.set_exports(CLOUD, exports("one"), NOW + DAY)
    await here.offers.set_exports(ONPREM, exports("two"), NOW + DAY)
    assert indexes(await mirrored(store)) == {"one": 1, "two": 2}
    await store.close()


LATE: dict[str, Callable[[Registry], Awaitable[None]]] = {
    "exports": lambda registry: registry.offers.set_exports(ONPREM, exports("late"), NOW),
    "gateways": lambda registry: registry.offers.set_gateways(ONPREM, {"gw": GATEWAY}),
}


@pytest.mark.parametrize("late", LATE)
async def test_what_comes_late_of_a_cluster_that_left_is_not_written(tmp_path: Path, late: str) -> None:
    store = await Overtaken.open(tmp_path / "registry.db")
    registry = Registry(store, capacity=100)
    await joined(registry, ONPREM)
    store.meanwhile = lambda: registry.members.leave(ONPREM, NOW)
    with pytest.raises(UnknownCluster):
        await LATE[late](registry)
    assert [item.key for item in (await store.range("")).items if "/onprem" in item.key] == []
    await store.close()


async def test_hubs_that_write_at_once_give_every_service_one_index_of_its_own(store: Store) -> None:
    clusters = [ClusterName(f"c{i}") for i in range(4)]
    await joined(Registry(store, capacity=100), *clusters)
    names = [f"s{i}" for i in range(20)]
    hubs = [Registry(store, capacity=100) for _ in clusters]
    await asyncio.gather(
        *(
            hub.offers.set_exports(cluster, exports(name), NOW)
            for hub, cluster in zip(hubs, clusters, strict=True)
            for name in names
        )
    )
    clusterset = await mirrored(store)
    assert sorted(indexes(clusterset).values()) == list(range(1, 21))
    assert all(len(imported.offerings) == 4 for imported in clusterset.imports())
    await asyncio.gather(
        *(hub.offers.set_exports(c, gone(*names), NOW) for hub, c in zip(hubs, clusters, strict=True))
    )
    assert len((await store.range(keyspace.VIPS_FREED)).items) == 20


# --- gateways


async def test_a_cluster_with_gateways_without_end_has_none_of_them_written_down(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_gateways(ONPREM, {"gw": GATEWAY})
    many = {f"gw-{count}": GatewayRecord(f"gw-{count}", ("192.0.2.1",)) for count in range(MAX_GATEWAYS)}
    with pytest.raises(ChangesRejected, match="more than 128"):
        await registry.offers.set_gateways(ONPREM, many)
    assert await gateways(store) == (GATEWAY,)
    await registry.offers.set_gateways(ONPREM, {**many, "gw": None})
    assert len(await gateways(store)) == MAX_GATEWAYS


async def test_gateways_come_change_and_go(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    one, two = GatewayRecord("gw-1", ("192.0.2.1",)), GatewayRecord("gw-2", ("192.0.2.2",))
    await registry.offers.set_gateways(ONPREM, {"gw-2": two, "gw-1": one})
    assert (await gateways(store)) == (one, two)
    moved = GatewayRecord("gw-1", ("192.0.2.9",))
    await registry.offers.set_gateways(ONPREM, {"gw-1": moved, "gw-2": None, "gw-3": None})
    assert (await gateways(store)) == (moved,)


async def test_gateways_that_are_said_again_are_written_once(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    said = {"gw-1": GatewayRecord("gw-1", ("192.0.2.1",))}
    await registry.offers.set_gateways(ONPREM, said)
    before = (await store.range("")).revision
    await registry.offers.set_gateways(ONPREM, said)
    assert (await store.range("")).revision == before


async def test_more_gateways_than_fit_in_a_transaction_all_arrive(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    said = {f"gw-{i}": GatewayRecord(f"gw-{i}", ("192.0.2.1",)) for i in range(MAX_OPERATIONS + 5)}
    await registry.offers.set_gateways(ONPREM, said)
    assert len(await gateways(store)) == len(said)


async def gateways(store: Store) -> tuple[GatewayRecord, ...]:
    member = (await mirrored(store)).member(ONPREM)
    assert member
    return member.gateways
