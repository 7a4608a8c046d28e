"""The hub's end of an agent's stream: who is let in, and what becomes of what is said."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from clusters.foreign import BundleEndpoint
from clusters.jwt_key import JwtKey, JwtKeys
from clusters.model import MAX_GATEWAYS, Export, Federation, GatewayRecord, Import, Member
from clusters.names import ClusterName, ServiceName
from clusters.reports import Probe, Probes
from clusters.revoked import Revoked
from clusters.services import Port
from clusters.withheld import Withheld
from federation.audit import Audit
from federation.broadcast import Broadcast
from federation.doorkeeper import Doorkeeper
from federation.errors import ChangesRejected, SyncRefused, UnreadableRecord
from federation.hearsay import Hearsay
from federation.probing import Probing, Seen
from federation.registry import keyspace
from federation.registry.grants import Default, Defaults, Grants, Limits
from federation.registry.ledger import everything
from federation.registry.members import JoinRequest
from federation.registry.mirror import Mirror
from federation.registry.records import AliveRecord, TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.sessions import Sessions
from federation.sync import records
from federation.sync.frames import Hello
from federation.sync.turns import Turns
from gateway.delta import Request, Response
from gateway.rpc import Peer
from gateway.stream import Stream
from pki.authority import to_pem
from pki.jwk import thumbprint
from pki.spiffe import SpiffeId, workload_id
from pki.spiffe_bundle import document
from tests import builders
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, ONPREM

CART = ServiceName("shop", "cart")
EXPORT = Export(CART, (builders.HTTP,), 2)


@dataclass
class Hub:
    """A hub without its servers."""

    pki: Authorities
    mirror: Mirror
    store: SqliteStore
    registry: Registry
    broadcast: Broadcast
    probing: Probing
    sessions: Sessions
    audit: Audit
    clock: list[datetime]

    async def join(self, cluster: ClusterName, *, rejoin: bool = False) -> None:
        token = TokenRecord(f"t-{cluster}-{rejoin}", "hash", cluster, NOW, NOW + timedelta(hours=1))
        await self.registry.tokens.add(token)
        request = JoinRequest(token.id, "hash", cluster, rejoin)
        anchor = to_pem(self.pki.issuing_ca(cluster).chain)
        await self.registry.members.join(request, f"{cluster}.fed.example", anchor, NOW)

    def peer(self, cluster: ClusterName, spiffe_id: SpiffeId | None = None) -> Peer:
        shown = self.pki.svid(spiffe_id) if spiffe_id else self.pki.agent(cluster)
        return Peer("ipv4:192.0.2.1:1", chain=shown.chain_pem)

    def member(self, cluster: ClusterName) -> Member:
        found = self.mirror.clusterset.member(cluster)
        assert found is not None
        return found

    def published(self, kind: str) -> set[str]:
        return set(self.broadcast.catalogue.names(kind))


@pytest.fixture(scope="module")
def pki() -> Authorities:
    return Authorities()


@pytest.fixture
async def hub(tmp_path: Path, pki: Authorities) -> AsyncIterator[Hub]:
    store = await SqliteStore.open(tmp_path / "registry.db")
    registry, mirror = Registry(store, 100), Mirror(store)
    await registry.set_federation(Federation("fed.example", (pki.root_pem,), builders.VIP_RANGES))
    hearsay = Hearsay(mirror.clusterset)
    mirror.beside.append(hearsay.apply)
    broadcast, changes = Broadcast(mirror.clusterset), mirror.changes()
    broadcast.follow(await anext(changes))

    async def follow() -> None:
        async for change in changes:
            broadcast.follow(change)

    following = asyncio.create_task(follow())
    audit, clock = builders.audit(), [NOW]
    doorkeeper = Doorkeeper(registry.members, "fed.example", lambda: NOW)
    sessions = Sessions(
        registry,
        broadcast,
        lambda: clock[0],
        doorkeeper,
        audit,
        Turns(),
    )
    hub = Hub(pki, mirror, store, registry, broadcast, hearsay.probing, sessions, audit, clock)
    for cluster in (ONPREM, CLOUD):
        await hub.join(cluster)
    await until(lambda: hub.published(records.MEMBER) == {ONPREM, CLOUD})
    yield hub
    following.cancel()
    await asyncio.wait([following])
    await store.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what comes about by other tasks."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  what others do has no event to wait for
            await asyncio.sleep(0.005)


async def refused(hub: Hub, peer: Peer, hello: Hello) -> str:
    with pytest.raises(SyncRefused) as caught:
        async with hub.sessions.session(peer, hello):
            pass
    return caught.value.code


async def test_what_gateways_find_out_is_told_while_the_agent_is_there_and_is_kept_as_old_when_it_is_not(
    hub: Hub,
) -> None:
    found = Probes("gw-1", (Probe(CLOUD, "192.0.2.20:15008", up=False, since=NOW, reason="gone"),))
    encoded = records.encode(found)
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.PROBES, {"gw-1": encoded.body})
        seen = [Seen(ONPREM, "gw-1", found.probes[0], None)]
        await until(lambda: list(hub.probing.of(CLOUD)) == seen)
    await until(lambda: [seen.said for seen in hub.probing.of(CLOUD)] == [NOW])
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert session.held[records.PROBES] == {"gw-1": encoded.version}
        await session.accept(records.PROBES, {"gw-1": None})
    await until(lambda: list(hub.probing.of(CLOUD)) == [])


async def test_the_jwt_keys_of_an_agent_are_known_to_everybody_and_outlive_its_connection(hub: Hub) -> None:
    told = builders.jwt_keys(ONPREM)
    keys = records.encode(told)
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.JWT_KEYS, {ONPREM: keys.body})
    await until(lambda: hub.member(ONPREM).jwt_keys == told.keys)
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert session.held[records.JWT_KEYS] == {ONPREM: keys.version}
        await session.accept(records.JWT_KEYS, {ONPREM: None})
    await until(lambda: hub.member(ONPREM).jwt_keys == ())


async def test_jwt_keys_of_others_and_what_is_no_key_are_rejected(hub: Hub) -> None:
    (key,) = builders.jwt_keys(ONPREM).keys
    bad = JwtKeys(ONPREM, (key, JwtKey(thumbprint(key.x, key.x), key.x, key.x, key.expires)))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        for name, keys in ((CLOUD, builders.jwt_keys(CLOUD)), (ONPREM, bad)):
            with pytest.raises(ChangesRejected):
                await session.accept(records.JWT_KEYS, {name: records.encode(keys).body})
    assert (hub.member(ONPREM).jwt_keys, hub.member(CLOUD).jwt_keys) == ((), ())


async def test_whom_an_agent_has_revoked_is_told_to_everybody_until_it_is_undone(hub: Hub) -> None:
    revoked = records.encode(Revoked(ONPREM, ("shop/web",)))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.REVOKED, {ONPREM: revoked.body})
    await until(lambda: hub.member(ONPREM).revoked == ("shop/web",))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert session.held[records.REVOKED] == {ONPREM: revoked.version}
        for of in (CLOUD, ONPREM):
            told = records.encode(Revoked(of, ("shop/api",)))
            with pytest.raises((ChangesRejected, UnreadableRecord)):
                await session.accept(records.REVOKED, {CLOUD: told.body})
        await session.accept(records.REVOKED, {ONPREM: None})
    await until(lambda: hub.member(ONPREM).revoked == ())
    assert hub.member(CLOUD).revoked == ()


async def test_what_is_said_again_and_changes_nothing_is_not_in_the_audit_record(hub: Hub) -> None:
    revoked = records.encode(Revoked(ONPREM, ("shop/web",)))
    doubted = records.encode(Withheld(ONPREM, NOW, NOW + timedelta(hours=1), 7, ("shop/cart",)))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        for body in (doubted.body, doubted.body, None, None):
            await session.accept(records.REVOKED, {ONPREM: revoked.body})
            await session.accept(records.WITHHELD, {ONPREM: body})
    told = [event.action for event in hub.audit.waiting]
    assert told == ["revoked", "withdrawal-doubted", "withdrawal-ended"]


async def test_what_an_agent_exports_is_imported_by_everybody(hub: Hub) -> None:
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
        await until(lambda: hub.published(records.IMPORT) == {"shop/cart"})
        await session.accept(records.EXPORT, {str(CART): None})
        await until(lambda: hub.published(records.IMPORT) == set())


async def test_a_gateway_is_told_as_part_of_its_member(hub: Hub) -> None:
    before = hub.broadcast.catalogue.get(records.MEMBER, ONPREM)
    gateway = GatewayRecord("gw-1", ("192.0.2.1",))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.GATEWAY, {"gw-1": records.encode(gateway).body})
        await until(lambda: hub.broadcast.catalogue.get(records.MEMBER, ONPREM) != before)
    told = hub.broadcast.catalogue.get(records.MEMBER, ONPREM)
    assert told
    assert b"192.0.2.1" in told.body


async def test_an_agent_that_comes_back_is_asked_only_for_what_the_registry_has_not(hub: Hub) -> None:
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
        await until(lambda: hub.published(records.IMPORT) == {"shop/cart"})
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert session.held[records.EXPORT] == {"shop/cart": records.encode(EXPORT).version}


async def test_a_gateway_that_nobody_can_dial_is_not_written(hub: Hub) -> None:
    nowhere = records.encode(GatewayRecord("gw-1", ("192.0.2.1", "fe80::1%x")))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert (await session.accept(records.GATEWAY, {"gw-1": nowhere.body}) or {}).keys() == {"gw-1"}
    assert [e async for e in everything(hub.store, keyspace.gateways(ONPREM))] == []


async def test_an_agent_may_not_speak_for_another_cluster(hub: Hub) -> None:
    assert await refused(hub, hub.peer(CLOUD), Hello(ONPREM, NOW)) == "not-this-cluster"
    (denied,) = hub.audit.waiting
    assert (denied.action, denied.subject, denied.details["code"]) == ("denied", ONPREM, "not-this-cluster")


async def test_a_workload_of_the_cluster_is_not_its_agent(hub: Hub) -> None:
    posing = hub.peer(ONPREM, workload_id("onprem.fed.example", "shop", "web"))
    assert await refused(hub, posing, Hello(ONPREM, NOW)) == "not-an-agent"


async def test_a_cluster_that_never_joined_is_refused(hub: Hub) -> None:
    east = ClusterName("east")
    assert await refused(hub, hub.peer(east), Hello(east, NOW)) == "not-a-member"


async def test_an_evicted_cluster_is_refused_and_told_what_to_do(hub: Hub) -> None:
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
        await hub.registry.members.evict(ONPREM, NOW)
        for kind, name in ((records.EXPORT, str(CART)), (records.LEAVE, ONPREM)):
            with pytest.raises(SyncRefused) as said_no:
                await session.accept(kind, {name: b"{}"})
            assert said_no.value.code == "evicted"
    await until(lambda: hub.published(records.MEMBER) == {CLOUD})
    await until(lambda: hub.published(records.IMPORT) == set())
    with pytest.raises(SyncRefused, match="onprem was evicted") as refused:
        await hub.sessions.admit(hub.peer(ONPREM), Hello(ONPREM, NOW))
    assert "readmit onprem" in refused.value.hint


async def test_after_a_rejoin_the_former_agent_is_refused(hub: Hub) -> None:
    former = hub.peer(ONPREM)
    hub.pki = Authorities()
    await hub.join(ONPREM, rejoin=True)
    assert await refused(hub, former, Hello(ONPREM, NOW)) == "not-this-cluster"
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)):
        pass


async def test_a_session_that_a_rejoin_has_overtaken_says_nothing_any_more(hub: Hub) -> None:
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        hub.pki = Authorities()
        await hub.join(ONPREM, rejoin=True)
        with pytest.raises(SyncRefused, match="as it joined last"):
            await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
    assert [e async for e in everything(hub.store, keyspace.exports(ONPREM))] == []


async def test_what_is_not_granted_is_taken_passed_on_to_nobody_and_written_down(hub: Hub) -> None:
    await hub.registry.policies.set(Grants(Defaults(exports=Default.DENY)), 0)
    await until(lambda: hub.broadcast.judge.restricts_callers)
    gateway = GatewayRecord("gw-1", ("127.0.0.1",))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
        await session.accept(records.GATEWAY, {"gw-1": records.encode(gateway).body})
        await until(lambda: session.catalogue.names(records.VERDICT) >= {"service/shop/cart", "gateway/gw-1"})
    assert hub.published(records.IMPORT) == set()
    assert [event.details["reason"] for event in hub.audit.waiting if event.action == "refused"] == [
        "no grant lets onprem export shop/cart",
        "127.0.0.1 is loopback, another place for each that dials it",
    ]
    written = (await hub.registry.policies.get()).revision
    await hub.registry.policies.set(Grants(), written)
    await until(lambda: hub.published(records.IMPORT) == {"shop/cart"})


async def test_a_conflict_is_told_to_all_who_export_and_the_hubs_clock_says_who_was_first(hub: Hub) -> None:
    other = replace(EXPORT, ports=(replace(builders.HTTP, app_protocol="grpc"),))
    async with (
        hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as first,
        hub.sessions.session(hub.peer(CLOUD), Hello(CLOUD, NOW)) as second,
    ):
        await first.accept(records.EXPORT, {str(CART): records.encode(other).body})
        hub.clock[0] += timedelta(seconds=1)
        await second.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})

        def conflicts() -> list[str]:
            told = [session.catalogue.get(records.IMPORT, str(CART)) for session in (first, second)]
            return [records.decode(Import, str(CART), found.body).conflict for found in told if found]

        await until(lambda: len(conflicts()) == 2 and all(conflicts()))
    assert all(
        "onprem has http:8080/TCP (grpc), cloud has http:8080/TCP (http)" in told for told in conflicts()
    )


async def test_who_has_everything_hears_when_a_service_is_not_for_it_any_more_and_when_it_is(
    hub: Hub,
) -> None:
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
    await until(lambda: hub.published(records.IMPORT) == {str(CART)})
    facing = hub.broadcast.facing(CLOUD)
    client = Stream(facing)
    facing.listen(client.changed)
    held = dict(facing.versions(records.IMPORT))
    assert client.receive(Request(records.IMPORT, initial_versions=held)) == []
    told = list[Response]()

    def says_something() -> bool:
        told.extend(client.flush())
        return bool(told)

    async def follows() -> list[str]:
        await until(says_something)
        response = told.pop()
        client.receive(Request(records.IMPORT, nonce=response.nonce))
        return [
            *(f"+{resource.name}" for resource in response.resources),
            *map("-{}".format, response.removed),
        ]

    await hub.registry.policies.set(Grants(Defaults(imports=Default.DENY)), 0)
    assert await follows() == ["-shop/cart"]
    await hub.registry.policies.set(Grants(), (await hub.registry.policies.get()).revision)
    assert await follows() == ["+shop/cart"]


async def test_of_one_message_what_cannot_be_taken_is_named_and_the_rest_is_taken(hub: Hub) -> None:
    other = replace(EXPORT, service=ServiceName("shop", "other"))
    good = records.encode(EXPORT).body
    told = {str(CART): good, "shop/posing": good, "shop/bad": b"{", "é": good, "shop/large": b" " * 70_000}
    gateways = {"gw-1": GatewayRecord("gw-1", ("192.0.2.1",)), "gw-2": GatewayRecord("gw-2", ("224.0.0.1",))}
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        refused = await session.accept(
            records.EXPORT, {**told, str(other.service): records.encode(other).body}
        )
        assert refused
        assert refused.keys() == {"shop/posing", "shop/bad", "é", "shop/large"}
        assert "it calls itself 'shop/cart'" in refused["shop/posing"]
        bodies = {name: records.encode(gateway).body for name, gateway in gateways.items()}
        assert (await session.accept(records.GATEWAY, {**bodies, "G": None}) or {}).keys() == {"gw-2", "G"}
    await until(lambda: hub.published(records.IMPORT) == {"shop/cart", "shop/other"})
    assert [event.details["name"] for event in hub.audit.waiting if event.action == "refused"] == [
        *("shop/large", "shop/posing", "shop/bad", "é"),
        *("gw-2", "G"),
    ]


async def test_many_records_that_are_as_large_as_they_may_be_are_taken(hub: Hub) -> None:
    ports = tuple(Port(n, f"p-{n}-{'x' * 50}") for n in range(1, 257))
    large = [Export(ServiceName("shop", f"s-{n}"), ports) for n in range(30)]
    names = tuple(f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 40}.{n}.example" for n in range(64))
    gateways = [GatewayRecord(f"gw-{n}", names) for n in range(100)]
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        for kind, said in ((records.EXPORT, large), (records.GATEWAY, gateways)):
            told = [records.encode(record) for record in said]
            assert await session.accept(kind, {each.name: each.body for each in told}) == {}
    assert len(await hub.registry.offers.exports(ONPREM)) == 30
    assert len(await hub.registry.offers.gateways(ONPREM)) == 100


async def test_services_for_which_no_address_is_left_are_named_and_the_others_are_taken(hub: Hub) -> None:
    hub.registry.offers.capacity = 2
    many = [replace(EXPORT, service=ServiceName("shop", f"s-{n}")) for n in range(3)]
    async with hub.sessions.session(hub.peer(CLOUD), Hello(CLOUD, NOW)) as session:
        await session.accept(records.EXPORT, {str(many[0].service): records.encode(many[0]).body})
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        one = await session.accept(records.EXPORT, {str(many[1].service): records.encode(many[1]).body})
        two = await session.accept(records.EXPORT, {str(many[2].service): records.encode(many[2]).body})
    assert (one, list(two or {})) == ({}, ["shop/s-2"])


async def limited(hub: Hub, limits: Limits) -> None:
    """Have *limits* be the hub's."""
    await hub.registry.policies.set(Grants(limits=limits), 0)
    await until(lambda: hub.broadcast.judge.grants.limits == limits)


def made(*names: str) -> Mapping[str, bytes | None]:
    """Exports of those names."""
    some = (records.encode(replace(EXPORT, service=ServiceName("shop", name))) for name in names)
    return {each.name: each.body for each in some}


async def test_what_a_cluster_has_counts_on_its_next_connection_and_what_was_refused_does_not(
    hub: Hub,
) -> None:
    await limited(hub, Limits(services=1))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert (await session.accept(records.EXPORT, made("a", "b")) or {}).keys() == {"shop/b"}
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert (await session.accept(records.EXPORT, made("b")) or {}).keys() == {"shop/b"}
        assert await session.accept(records.EXPORT, {"shop/a": None}) == {}
        assert await session.accept(records.EXPORT, made("c")) == {}


async def slowed(hub: Hub, asked: Awaitable[object]) -> bool:
    """Whether what is *asked* is made to wait."""
    asking = asyncio.ensure_future(asked)

    def noted() -> bool:
        return any(event.details.get("what") == "rate" for event in hub.audit.waiting)

    await until(lambda: noted() or asking.done())
    waits = not asking.done()
    asking.cancel()
    await asyncio.wait([asking])
    return waits


async def test_who_says_little_that_is_large_waits_like_who_says_much(hub: Hub) -> None:
    await limited(hub, Limits(services=1, changes_per_second=1))
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert await slowed(hub, session.accept(records.PROBES, {"gw-1": b"x" * (2 << 20)}))


async def test_who_connects_again_and_again_waits(hub: Hub) -> None:
    await limited(hub, Limits(services=1, changes_per_second=1))

    async def comes() -> None:
        async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)):
            pass

    for _ in range(10):
        assert not await slowed(hub, comes())
    assert await slowed(hub, comes())


async def test_who_changes_too_much_gains_nothing_by_connecting_again(hub: Hub) -> None:
    await hub.registry.policies.set(Grants(limits=Limits(services=1, changes_per_second=1)), 0)
    await until(lambda: hub.broadcast.judge.grants.limits.services == 1)

    async def comes_and_says(count: int) -> None:
        async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
            await session.accept(records.EXPORT, {f"shop/s-{n}": None for n in range(count)})

    await comes_and_says(800)
    again = asyncio.create_task(comes_and_says(800))
    await until(lambda: any(event.details.get("what") == "rate" for event in hub.audit.waiting))
    assert not again.done()
    again.cancel()


async def test_who_was_refused_by_a_limit_may_say_it_again_when_the_limit_is_another(hub: Hub) -> None:
    await hub.registry.policies.set(Grants(limits=Limits(services=1)), 0)
    await until(lambda: hub.broadcast.judge.grants.limits.services == 1)
    other = replace(EXPORT, service=ServiceName("shop", "other"))
    told = {each.name: each.body for each in map(records.encode, (EXPORT, other))}
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert (await session.accept(records.EXPORT, told) or {}).keys() == {"shop/other"}
        assert hub.sessions.relieved() == ()
        await hub.registry.policies.set(Grants(), (await hub.registry.policies.get()).revision)
        await until(lambda: hub.sessions.relieved() == (ONPREM,))
    assert hub.sessions.relieved() == ()
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert await session.accept(records.EXPORT, told) == {}


async def test_a_cluster_that_changes_too_much_waits_and_others_do_not(hub: Hub) -> None:
    await hub.registry.policies.set(Grants(limits=Limits(services=2, changes_per_second=1)), 0)
    await until(lambda: hub.broadcast.judge.grants.limits.services == 2)
    body = records.encode(EXPORT).body
    async with (
        hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as flooding,
        hub.sessions.session(hub.peer(CLOUD), Hello(CLOUD, NOW)) as quiet,
    ):
        flood = asyncio.ensure_future(
            flooding.accept(records.EXPORT, {f"shop/s-{n}": None for n in range(9_000)})
        )
        await until(lambda: any(event.details.get("what") == "rate" for event in hub.audit.waiting))
        await quiet.accept(records.EXPORT, {str(CART): body})
        assert not flood.done()
        flood.cancel()
    await until(lambda: hub.published(records.IMPORT) == {"shop/cart"})


async def test_an_agent_whose_clock_is_a_minute_off_is_refused(hub: Hub) -> None:
    hello = Hello(ONPREM, NOW - timedelta(seconds=61))
    assert await refused(hub, hub.peer(ONPREM), hello) == "clock-skew"


async def test_a_cluster_that_leaves_takes_its_services_and_is_no_member_any_more(hub: Hub) -> None:
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.EXPORT, {str(CART): records.encode(EXPORT).body})
        with pytest.raises(SyncRefused) as left:
            await session.accept(records.LEAVE, {ONPREM: b"{}"})
    assert left.value.code == records.LEFT
    await until(lambda: hub.published(records.MEMBER) == {CLOUD})
    await until(lambda: hub.published(records.IMPORT) == set())
    assert await refused(hub, hub.peer(ONPREM), Hello(ONPREM, NOW)) == "not-a-member"


async def test_a_session_says_that_its_cluster_is_there_and_that_it_went(hub: Hub) -> None:
    clusterset = hub.mirror.clusterset
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW, version="0.1.0")):
        await until(lambda: clusterset.connected(ONPREM))
        await until(lambda: clusterset.status(ONPREM) is not None)
    await until(lambda: not clusterset.connected(ONPREM))


@pytest.mark.parametrize("turns", range(1, 5))
async def test_a_connection_that_is_cancelled_twice_says_all_the_same_that_its_cluster_went(
    turns: int, hub: Hub
) -> None:
    async def connected() -> None:
        async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)):
            await asyncio.Event().wait()

    task = asyncio.create_task(connected())
    await until(lambda: hub.mirror.clusterset.connected(ONPREM))
    task.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not hub.mirror.clusterset.connected(ONPREM))


async def test_a_withdrawal_that_is_doubted_is_known_until_the_agent_has_heard_that_it_is_accepted(
    hub: Hub,
) -> None:
    doubted = Withheld(ONPREM, NOW, NOW + timedelta(hours=1), 7, ("shop/cart",))
    encoded = records.encode(doubted)
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.WITHHELD, {ONPREM: encoded.body})
        await until(lambda: hub.mirror.clusterset.withheld(ONPREM) == doubted)
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        assert session.held[records.WITHHELD] == {ONPREM: encoded.version}
        assert await hub.registry.withdrawals.accept(ONPREM) == doubted
        await until(lambda: hub.member(ONPREM).accepted == NOW)
        await session.accept(records.WITHHELD, {ONPREM: None})
        await until(lambda: hub.member(ONPREM).accepted is None)
        assert hub.mirror.clusterset.withheld(ONPREM) is None
        with pytest.raises(ChangesRejected):
            await session.accept(records.WITHHELD, {CLOUD: encoded.body})
    assert await hub.registry.withdrawals.accept(ONPREM) is None
    told = [event.action for event in hub.audit.waiting]
    assert [action for action in told if "withdrawal" in action] == ["withdrawal-doubted", "withdrawal-ended"]


async def test_a_trust_domain_outside_is_told_to_everybody_once_it_has_a_bundle(hub: Hub) -> None:
    place = BundleEndpoint("other.example", "https://other.example/bundle")
    root = Authorities(domain="other.example").root.certificate
    await hub.registry.trusts.add(place, "")
    await hub.registry.trusts.fetched(place, document([root], []).decode(), NOW)
    await until(lambda: hub.published(records.FOREIGN) == {"other.example"})
    await hub.registry.trusts.remove("other.example")
    await until(lambda: hub.published(records.FOREIGN) == set())


async def test_by_a_connection_that_another_has_taken_over_nothing_is_written_any_more(hub: Hub) -> None:
    """The agent has gone to another hub, and this one stood still meanwhile."""
    cart: dict[str, bytes | None] = {str(CART): records.encode(EXPORT).body}
    leave: dict[str, bytes | None] = {ONPREM: b"{}"}
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as former:
        await former.accept(records.EXPORT, cart)
        async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
            await session.accept(records.EXPORT, {str(CART): None})
            for kind, changes in ((records.EXPORT, cart), (records.LEAVE, leave)):
                with pytest.raises(SyncRefused) as refused:
                    await former.accept(kind, changes)
                assert refused.value.code == "superseded"
        assert [e async for e in everything(hub.store, keyspace.exports(ONPREM))] == []


async def test_an_agent_that_came_from_here_and_went_on_to_another_hub_is_hung_up_on(hub: Hub) -> None:
    another = AliveRecord(NOW, "at another hub")
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)):
        assert list(hub.sessions.superseded([ONPREM, CLOUD])) == []
        await hub.registry.members.connect(ONPREM, 10, another)
        await until(lambda: list(hub.sessions.superseded([ONPREM, CLOUD])) == [ONPREM])
    await until(lambda: hub.mirror.clusterset.alive(ONPREM) == another)


async def test_an_agent_waits_for_a_hub_that_is_behind_its_store(hub: Hub) -> None:
    peer, hello = hub.peer(ONPREM), Hello(ONPREM, NOW)
    behind = Sessions(
        hub.registry,
        Broadcast(Mirror(hub.store).clusterset),
        lambda: NOW,
        Doorkeeper(hub.registry.members, "fed.example", lambda: NOW),
        hub.audit,
        Turns(),
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), behind.session(peer, hello):
            pass


async def test_what_gateways_have_any_name_for_is_written_down_and_too_much_is_not(hub: Hub) -> None:
    odd = Probes("a/gateway of ümlauts", ())
    async with hub.sessions.session(hub.peer(ONPREM), Hello(ONPREM, NOW)) as session:
        await session.accept(records.PROBES, {odd.gateway: records.encode(odd).body})
        await until(lambda: hub.probing.said_by(ONPREM) == (odd,))
        many = {f"gw-{n}": records.encode(Probes(f"gw-{n}", ())).body for n in range(MAX_GATEWAYS)}
        with pytest.raises(ChangesRejected, match="more than 128"):
            await session.accept(records.PROBES, many)
        found = Probe(CLOUD, "192.0.2.20:15008", up=False, since=NOW, reason="x" * 300)
        large = records.encode(Probes("gw-1", (found,) * 2000))
        assert (await session.accept(records.PROBES, {"gw-1": large.body}) or {}).keys() == {"gw-1"}
        assert hub.probing.said_by(ONPREM) == (odd,)
