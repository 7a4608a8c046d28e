import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.model import GatewayRecord
from clusters.names import ClusterName
from clusters.revoked import Revoked
from federation.errors import ClusterExists, Exit, LeaseNotFound, TokenRefused, UnknownCluster
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.database import Database
from federation.registry.leases import Leases
from federation.registry.members import JoinRequest
from federation.registry.records import AliveRecord, ClusterRecord, ClusterState, StatusRecord, TokenState
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Commit, Compare, Delete, LeaseId, Operation, Put, Store
from tests.builders import CLOUD, ONPREM, jwt_keys
from tests.federation.registry.conftest import Bench
from tests.federation.registry.worlds import MINUTE, NOW, Overtaken, exports, joined, mirrored, service, token

REQUEST = JoinRequest("t1", "hash", ONPREM)


async def join(registry: Registry, request: JoinRequest = REQUEST, anchor: str = "ANCHOR") -> ClusterRecord:
    return await registry.members.join(request, f"{request.cluster}.fed.example", anchor, NOW)


# --- joining


async def test_a_join_spends_the_token_and_makes_a_member_in_one_revision(
    registry: Registry, store: Store
) -> None:
    await registry.tokens.add(token(ONPREM))
    record = await join(registry)
    assert record == ClusterRecord(ONPREM, "onprem.fed.example", ("ANCHOR",), NOW)
    assert await registry.members.get(ONPREM) == record
    assert await registry.members.list() == [record]
    (spent,) = await registry.tokens.list()
    assert (spent.state(NOW), spent.used_at) == (TokenState.USED, NOW)
    assert {item.mod_revision for item in (await store.range("")).items} == {2}


async def test_asking_first_spends_nothing(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM))
    await registry.members.may_join(REQUEST, NOW)
    await registry.members.may_join(REQUEST, NOW)
    await join(registry)


REFUSALS = {
    "token-unknown": (replace(REQUEST, token_id="t2"), NOW, "the hub does not know it"),
    "secret-wrong": (replace(REQUEST, secret_hash="other"), NOW, "its secret is not the one"),
    "token-expired": (REQUEST, NOW + 15 * MINUTE, "it expired at 2026-01-02 00:15:00 UTC"),
    "token-wrong-cluster": (replace(REQUEST, cluster=CLOUD), NOW, "it is for cluster onprem, not for cloud"),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_each_fault_of_a_token_has_its_own_error(registry: Registry, code: str) -> None:
    request, now, reason = REFUSALS[code]
    await registry.tokens.add(token(ONPREM))
    for attempt in (
        registry.members.may_join(request, now),
        registry.members.join(request, "td", "ANCHOR", now),
    ):
        with pytest.raises(TokenRefused, match=reason) as refused:
            await attempt
        assert refused.value.code == code
        assert "fedgate token create" in refused.value.hint
        assert refused.value.exit_code is Exit.FORBIDDEN
    assert await registry.members.list() == []


async def test_a_revoked_token_is_refused(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM))
    await registry.tokens.revoke("t1", NOW)
    with pytest.raises(TokenRefused, match="revoked") as refused:
        await join(registry)
    assert refused.value.code == "token-revoked"


async def test_a_used_token_is_refused(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM))
    await join(registry)
    with pytest.raises(TokenRefused, match="good for one join") as refused:
        await join(registry)
    assert refused.value.code == "token-used"


async def test_who_lacks_the_secret_is_not_told_what_became_of_the_token(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM))
    await join(registry)
    with pytest.raises(TokenRefused) as refused:
        await join(registry, replace(REQUEST, secret_hash="guessed", cluster=CLOUD))
    assert refused.value.code == "secret-wrong"


async def test_of_two_racing_joins_one_wins_and_the_other_is_told(store: Store) -> None:
    hubs = [Registry(store, capacity=100) for _ in range(5)]
    await hubs[0].tokens.add(token(ONPREM))
    results = await asyncio.gather(
        *(join(hub, anchor=f"ANCHOR {i}") for i, hub in enumerate(hubs)), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, ClusterRecord)]
    losers = [result.code for result in results if isinstance(result, TokenRefused)]
    assert await hubs[0].members.list() == winners
    assert losers == ["token-used"] * 4


async def test_of_two_tokens_for_one_name_only_one_makes_a_member(store: Store) -> None:
    hubs = [Registry(store, capacity=100) for _ in range(2)]
    for name in ("t1", "t2"):
        await hubs[0].tokens.add(token(ONPREM, name))
    results = await asyncio.gather(
        *(join(hub, replace(REQUEST, token_id=name)) for hub, name in zip(hubs, ("t1", "t2"), strict=True)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["ClusterExists", "ClusterRecord"]
    assert sorted(one.state(NOW) for one in await hubs[0].tokens.list()) == ["unused", "used"]


async def test_a_token_that_is_revoked_while_a_join_is_decided_opens_no_door(tmp_path: Path) -> None:
    store = await Overtaken.open(tmp_path / "registry.db")
    registry = Registry(store, capacity=100)
    await registry.tokens.add(token(ONPREM))
    store.meanwhile = lambda: registry.tokens.revoke("t1", NOW)
    with pytest.raises(TokenRefused, match="revoked"):
        await join(registry)
    assert await registry.members.list() == []
    await store.close()


async def test_a_name_that_is_taken_is_refused_and_the_token_stays_good(registry: Registry) -> None:
    await joined(registry, ONPREM)
    await registry.tokens.add(token(ONPREM))
    with pytest.raises(ClusterExists, match="cluster onprem is already in the clusterset") as refused:
        await join(registry)
    assert "--rejoin" in refused.value.hint
    await join(registry, replace(REQUEST, rejoin=True))


async def test_a_rejoin_takes_the_old_anchors_away_and_keeps_the_exports(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await registry.tokens.add(token(ONPREM))
    await join(registry, replace(REQUEST, rejoin=True), anchor="NEW")
    clusterset = await mirrored(store)
    member = clusterset.member(ONPREM)
    assert member
    assert member.anchors == ("NEW",)
    assert clusterset.services == (service("catalog"),)


async def test_a_rejoin_of_a_name_that_is_free_is_a_join(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM))
    await join(registry, replace(REQUEST, rejoin=True))
    assert [record.name for record in await registry.members.list()] == [ONPREM]


async def test_anchors_are_replaced_for_members_only(registry: Registry) -> None:
    await joined(registry, ONPREM)
    await registry.members.set_anchors(ONPREM, ("OLD", "NEW"))
    assert (await registry.members.get(ONPREM)).anchors == ("OLD", "NEW")
    with pytest.raises(UnknownCluster):
        await registry.members.set_anchors(CLOUD, ("NEW",))


async def test_jwt_keys_are_a_members_own_and_go_when_another_takes_its_name(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    assert await registry.members.jwt_keys(ONPREM) is None
    for keys in (jwt_keys(ONPREM), jwt_keys(ONPREM)):
        await registry.members.set_jwt_keys(ONPREM, keys)
        member = (await mirrored(store)).member(ONPREM)
        assert member
        assert member.jwt_keys == keys.keys
    with pytest.raises(UnknownCluster):
        await registry.members.set_jwt_keys(CLOUD, jwt_keys(CLOUD))
    await registry.tokens.add(token(ONPREM))
    await join(registry, replace(REQUEST, rejoin=True), anchor="NEW")
    assert await registry.members.jwt_keys(ONPREM) is None


async def test_who_is_revoked_is_known_as_the_member_says_and_stays_so_until_another_has_its_name(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    for workloads in (("shop/web",), ("shop/batch", "shop/web"), ()):
        await registry.members.set_revoked(ONPREM, Revoked(ONPREM, workloads))
        member = (await mirrored(store)).member(ONPREM)
        assert member
        assert member.revoked == workloads
    with pytest.raises(UnknownCluster):
        await registry.members.set_revoked(CLOUD, Revoked(CLOUD))
    await registry.tokens.add(token(ONPREM))
    await join(registry, replace(REQUEST, rejoin=True), anchor="NEW")
    assert await registry.members.revoked(ONPREM) is None


async def test_who_leaves_takes_its_jwt_keys_and_its_revoked_along(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.members.set_jwt_keys(ONPREM, jwt_keys(ONPREM))
    await registry.members.set_revoked(ONPREM, Revoked(ONPREM, ("shop/web",)))
    await registry.members.leave(ONPREM, NOW)
    assert await registry.members.jwt_keys(ONPREM) is None
    assert await registry.members.revoked(ONPREM) is None


# --- being there


async def test_a_cluster_is_connected_until_it_is_not_heard_of(bench: Bench) -> None:
    registry = Registry(bench.store, capacity=100)
    await joined(registry, ONPREM)
    lease = await registry.members.connect(ONPREM, 4, AliveRecord(NOW))
    for _ in range(3):
        await bench.let_pass(2)
        await registry.members.keep_alive(lease)
    assert (await mirrored(bench.store)).connected(ONPREM)
    await bench.let_pass(6)
    assert not (await mirrored(bench.store)).connected(ONPREM)
    with pytest.raises(LeaseNotFound):
        await registry.members.keep_alive(lease)


async def test_a_cluster_that_is_not_heard_of_keeps_its_records(bench: Bench) -> None:
    registry = Registry(bench.store, capacity=100)
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await registry.members.connect(ONPREM, 3, AliveRecord(NOW))
    await bench.let_pass(6)
    clusterset = await mirrored(bench.store)
    assert (clusterset.clusters, clusterset.services) == ((ONPREM,), (service("catalog"),))


async def test_the_end_of_an_old_connection_does_not_end_the_new_one(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    old = await registry.members.connect(ONPREM, 10, AliveRecord(NOW))
    new = await registry.members.connect(ONPREM, 10, AliveRecord(NOW))
    await registry.members.disconnect(old)
    assert (await mirrored(store)).connected(ONPREM)
    await registry.members.disconnect(new)
    assert not (await mirrored(store)).connected(ONPREM)


async def test_a_stranger_cannot_connect_or_be_seen(registry: Registry, store: Store) -> None:
    with pytest.raises(UnknownCluster):
        await registry.members.connect(ONPREM, 10, AliveRecord(NOW))
    with pytest.raises(UnknownCluster):
        await registry.members.seen(ONPREM, StatusRecord(NOW))
    with pytest.raises(UnknownCluster):
        await registry.members.get(ONPREM)
    assert (await store.range("")).items == ()


async def test_what_was_last_seen_of_a_cluster_is_kept(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.members.seen(ONPREM, StatusRecord(NOW, "0.1.0", 0.5))
    await registry.members.seen(ONPREM, StatusRecord(NOW + MINUTE, "0.1.1", 0.25))
    assert (await mirrored(store)).status(ONPREM) == StatusRecord(NOW + MINUTE, "0.1.1", 0.25)


# --- leaving


async def test_who_leaves_leaves_nothing_but_the_memory_of_its_addresses(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports(*(f"s{i}" for i in range(60))), NOW)
    await registry.offers.set_gateways(ONPREM, {"gw-1": GatewayRecord("gw-1", ("192.0.2.1",))})
    await registry.members.connect(ONPREM, 10, AliveRecord(NOW))
    await registry.members.seen(ONPREM, StatusRecord(NOW))
    await registry.members.leave(ONPREM, NOW)
    clusterset = await mirrored(store)
    assert (clusterset.clusters, clusterset.services) == ((CLOUD,), ())
    left = [item.key for item in (await store.range(keyspace.ROOT)).items]
    assert [key for key in left if "/onprem" in key] == []
    with pytest.raises(UnknownCluster):
        await registry.members.leave(ONPREM, NOW)


async def test_who_leaves_is_out_before_its_records_are_swept_up(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await cut_short_leave(store, ONPREM)
    clusterset = await mirrored(store)
    assert (clusterset.clusters, clusterset.services) == ((CLOUD,), ())
    assert clusterset.member(ONPREM) is None
    assert clusterset.import_(service("catalog")) is None
    with pytest.raises(UnknownCluster):
        await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)


async def test_a_leave_that_was_cut_short_is_finished_at_the_next_start(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await cut_short_leave(store, ONPREM)
    await registry.tidy(NOW)
    assert (await store.range(keyspace.exports(ONPREM))).items == ()
    assert await store.get(keyspace.cluster(ONPREM)) is None


async def test_a_new_cluster_of_that_name_does_not_inherit_what_was_not_swept_up(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await cut_short_leave(store, ONPREM)
    await registry.tokens.add(token(ONPREM))
    await join(registry)
    clusterset = await mirrored(store)
    assert (clusterset.clusters, clusterset.services) == ((ONPREM,), ())


async def test_a_sweep_that_was_overtaken_takes_nothing_from_the_new_cluster(
    tmp_path: Path,
) -> None:
    store = await Overtaken.open(tmp_path / "registry.db")
    slow, fast = Registry(store, capacity=100), Registry(store, capacity=100)
    await joined(slow, ONPREM)
    await slow.offers.set_exports(ONPREM, exports("catalog"), NOW)
    await cut_short_leave(store, ONPREM)

    async def overtake() -> None:
        await joined(fast, ONPREM, by="new-token-of")
        await fast.offers.set_exports(ONPREM, exports("catalog"), NOW)

    store.meanwhile = overtake
    await slow.tidy(NOW)
    clusterset = await mirrored(store)
    assert (clusterset.clusters, clusterset.services) == ((ONPREM,), (service("catalog"),))
    await store.close()


async def cut_short_leave(store: Store, name: ClusterName) -> None:
    """What the store looks like when the hub dies right after a leave was begun."""
    record = ClusterRecord(name, f"{name}.fed.example", ("ANCHOR",), NOW, ClusterState.LEAVING)
    await store.commit([Put(keyspace.cluster(name), encode(record)), Delete(keyspace.alive(name))])


class Slow(SqliteStore):
    """A store that ends leases only when it is let, and after *connecting* does no transaction."""

    def __init__(
        self, database: Database, worker: ThreadPoolExecutor, leases: Leases, clock: Callable[[], float]
    ) -> None:
        super().__init__(database, worker, leases, clock)
        self.connecting, self.let = asyncio.Event(), asyncio.Event()
        self.revoked: list[LeaseId] = []

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        if any(isinstance(each, Put) and each.lease for each in operations):
            self.connecting.set()
            await asyncio.Event().wait()
        return await super().commit(operations, when)

    async def revoke(self, lease: LeaseId) -> None:
        await self.let.wait()
        await super().revoke(lease)
        self.revoked.append(lease)


async def test_a_connection_that_broke_twice_while_connecting_is_given_up_all_the_same(
    tmp_path: Path,
) -> None:
    store = await Slow.open(tmp_path / "registry.db")
    registry = Registry(store, 100)
    await joined(registry, ONPREM)
    connecting = asyncio.create_task(registry.members.connect(ONPREM, 60, AliveRecord(NOW)))
    await store.connecting.wait()
    for _ in range(2):
        connecting.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([connecting])
    store.let.set()
    async with asyncio.timeout(20):
        while not store.revoked:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await store.close()
