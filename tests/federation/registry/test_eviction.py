"""Shutting a cluster out, and letting its name be joined under again."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clusters.model import GatewayRecord
from federation.errors import ClusterEvicted, Contention, Exit, NotEvicted, TokenRefused, UnknownCluster
from federation.registry import keyspace
from federation.registry.members import JoinRequest
from federation.registry.records import AliveRecord, StatusRecord
from federation.registry.registry import Registry
from federation.registry.store import Store
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import MINUTE, NOW, Overtaken, exports, joined, mirrored, service, token

REQUEST = JoinRequest("t1", "hash", ONPREM)


async def test_an_evicted_cluster_and_all_that_it_offered_count_no_more(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await registry.offers.set_exports(CLOUD, exports("catalog", "cart"), NOW)
    await registry.members.connect(CLOUD, 10, AliveRecord(NOW))
    await registry.members.evict(CLOUD, NOW)
    clusterset = await mirrored(store)
    assert (clusterset.clusters, clusterset.services) == ((ONPREM,), (service("catalog"),))
    assert clusterset.member(CLOUD) is None
    assert not clusterset.connected(CLOUD)
    imported = clusterset.import_(service("catalog"))
    assert imported
    assert [offering.cluster for offering in imported.offerings] == [ONPREM]
    (record,) = clusterset.evicted
    assert (record.name, record.evicted_at) == (CLOUD, NOW)


SAYINGS: dict[str, Callable[[Registry], Awaitable[object]]] = {
    "connect": lambda registry: registry.members.connect(CLOUD, 10, AliveRecord(NOW)),
    "be seen": lambda registry: registry.members.seen(CLOUD, StatusRecord(NOW)),
    "leave": lambda registry: registry.members.leave(CLOUD, NOW),
    "export": lambda registry: registry.offers.set_exports(CLOUD, exports("cart"), NOW),
    "have gateways": lambda registry: registry.offers.set_gateways(
        CLOUD, {"gw": GatewayRecord("gw", ("192.0.2.1",))}
    ),
    "have other issuing CAs": lambda registry: registry.members.set_anchors(CLOUD, ("NEW",)),
    "be asked about": lambda registry: registry.members.get(CLOUD),
}


@pytest.mark.parametrize("what", SAYINGS)
async def test_an_evicted_cluster_can_do_nothing(registry: Registry, what: str) -> None:
    await joined(registry, CLOUD)
    await registry.members.evict(CLOUD, NOW)
    with pytest.raises(UnknownCluster):
        await SAYINGS[what](registry)
    with pytest.raises(ClusterEvicted, match="cloud was evicted"):
        await registry.members.get(CLOUD)


async def test_its_unused_tokens_are_revoked_and_those_of_others_are_not(registry: Registry) -> None:
    await joined(registry, ONPREM)
    await registry.tokens.add(token(ONPREM, "its"))
    await registry.tokens.add(token(CLOUD, "another's"))
    await registry.members.evict(ONPREM, NOW)
    states = {one.id: one.state(NOW) for one in await registry.tokens.list()}
    assert states == {"token-of-onprem": "used", "its": "revoked", "another's": "unused"}


async def test_nobody_gets_a_token_for_its_name_or_joins_under_it(registry: Registry) -> None:
    await joined(registry, ONPREM)
    await registry.tokens.add(token(ONPREM))
    await registry.members.evict(ONPREM, NOW)
    for rejoin in (False, True):
        with pytest.raises(TokenRefused, match="revoked"):
            await registry.members.join(JoinRequest("t1", "hash", ONPREM, rejoin), "td", "NEW", NOW)
    with pytest.raises(ClusterEvicted) as refused:
        await registry.tokens.add(token(ONPREM, "t2"))
    assert (refused.value.code, refused.value.exit_code) == ("evicted", Exit.FORBIDDEN)
    assert "fedgate clusters readmit onprem" in refused.value.hint


async def test_a_rejoin_that_is_decided_while_its_cluster_is_evicted_is_refused(store: Store) -> None:
    registry = Registry(store, capacity=100)
    await joined(registry, ONPREM)
    await registry.tokens.add(token(ONPREM))
    request = JoinRequest("t1", "hash", ONPREM, rejoin=True)
    results = await asyncio.gather(
        registry.members.evict(ONPREM, NOW),
        registry.members.join(request, "td", "NEW", NOW),
        return_exceptions=True,
    )
    assert not isinstance(results[0], BaseException)
    (record,) = (await mirrored(store)).evicted
    assert record.name == ONPREM


async def test_a_token_that_is_made_while_its_cluster_is_evicted_is_not_given_out(tmp_path: Path) -> None:
    store = await Overtaken.open(tmp_path / "registry.db")
    registry = Registry(store, capacity=100)
    await joined(registry, ONPREM)
    store.meanwhile = lambda: registry.members.evict(ONPREM, NOW)
    with pytest.raises(Contention):
        await registry.tokens.add(token(ONPREM))
    assert [one.state(NOW) for one in await registry.tokens.list()] == ["used"]
    await store.close()


async def test_to_evict_it_again_changes_nothing(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    first = await registry.members.evict(ONPREM, NOW)
    assert await registry.members.evict(ONPREM, NOW + MINUTE) == first
    assert (await mirrored(store)).evicted == (first,)


async def test_only_a_member_can_be_evicted_and_only_who_was_is_readmitted(registry: Registry) -> None:
    with pytest.raises(UnknownCluster):
        await registry.members.evict(ONPREM, NOW)
    with pytest.raises(UnknownCluster):
        await registry.members.readmit(ONPREM, NOW)
    await joined(registry, ONPREM)
    with pytest.raises(NotEvicted, match="onprem was not evicted"):
        await registry.members.readmit(ONPREM, NOW)
    assert [record.name for record in await registry.members.list()] == [ONPREM]


async def test_who_is_readmitted_joins_by_a_new_token_and_inherits_nothing(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await registry.tokens.add(token(ONPREM, "old"))
    await registry.members.evict(ONPREM, NOW)
    await registry.members.readmit(ONPREM, NOW)
    assert [key for key in await keys(store) if "/onprem" in key] == []
    with pytest.raises(TokenRefused, match="revoked"):
        await registry.members.join(JoinRequest("old", "hash", ONPREM), "td", "NEW", NOW)
    await registry.tokens.add(token(ONPREM))
    await registry.members.join(REQUEST, "onprem.fed.example", "NEW", NOW)
    clusterset = await mirrored(store)
    member = clusterset.member(ONPREM)
    assert member
    assert (member.anchors, clusterset.services, clusterset.evicted) == (("NEW",), (), ())


async def keys(store: Store) -> list[str]:
    return [item.key for item in (await store.range(keyspace.ROOT)).items]
