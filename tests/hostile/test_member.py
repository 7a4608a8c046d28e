"""A member with a good certificate that lies in every field of every record and message: one lie, or many.

Nothing may change outside of what it is granted: not what others are told, nor what is written down of them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.jwt_key import JwtKeys
from clusters.keyring import published
from clusters.model import Export, GatewayRecord, Import, Member
from clusters.names import ClusterName, ServiceName
from clusters.reports import Anchors, Probe, Probes
from clusters.revoked import Revoked
from clusters.trust import Trust
from clusters.withheld import Withheld
from federation.audit import Audit
from federation.broadcast import Broadcast
from federation.doorkeeper import Doorkeeper
from federation.errors import SyncRefused
from federation.registry import keyspace
from federation.registry.clusterset import Clusterset
from federation.registry.grants import Default, Defaults, Grant, Grants, Limits, service_fits
from federation.registry.ledger import everything
from federation.registry.members import JoinRequest
from federation.registry.mirror import Mirror
from federation.registry.outlook import imports_for
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.sessions import Sessions
from federation.sync import frames, records
from federation.sync.exchange import exchange
from federation.sync.frames import Ask, Frame, Hello, Tell
from federation.sync.link import Link
from federation.sync.turns import Turns
from gateway.delta import Request, Resource, Response
from gateway.rpc import Peer
from gateway.subscription import Subscription
from pki.authority import to_pem
from pki.jwt_keys import SigningKey
from tests import builders
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, HTTP, ONPREM
from tests.hostile.lies import Lie, lies, of, plain, told
from tests.hostile.strategies import Value, hostile

PKI: Final = Authorities()
EDGE: Final = ClusterName("edge")
HONEST: Final = (CLOUD, EDGE)
# onprem may export what is in `shop`, to cloud alone, and have gateways in one range.
GRANTED: Final = "shop/*"
RANGE: Final = "192.0.2.0/24"
GRANTS: Final = Grants(
    Defaults(exports=Default.DENY, addresses=Default.DENY),
    Limits(changes_per_second=1 << 30),  # each lie is told on a connection of its own
    grants=(
        Grant("liar", (ONPREM,), exports=(GRANTED,), to=(CLOUD,), addresses=(RANGE,)),
        Grant("honest", HONEST, exports=("*/*",), addresses=("203.0.113.0/24",)),
    ),
)
CART, LEDGER = ServiceName("shop", "cart"), ServiceName("pay", "ledger")

# One good record of each kind that a member may tell of; the lies are told in these.
RECORDS: Final[Mapping[str, records.Record]] = {
    records.EXPORT: Export(CART, (HTTP,), 2),
    records.GATEWAY: GatewayRecord("gw-1", ("192.0.2.1",)),
    records.PROBES: Probes("gw-1", (Probe(CLOUD, "203.0.113.1:15008", False, NOW, "timed out"),)),
    records.ANCHORS: Anchors("gw-1", {CLOUD: ("ab" * 32,)}),
    records.TRUST: Trust("ab" * 32),
    records.JWT_KEYS: JwtKeys(ONPREM, (published(SigningKey.new(NOW)),)),
    records.REVOKED: Revoked(ONPREM, ("shop/web",)),
    records.WITHHELD: Withheld(ONPREM, NOW, NOW, 1, ("shop/gone",)),
}
HELLO: Final = Hello(ONPREM, NOW, "1.0", vip_ranges=("241.0.0.0/16",))


def telling(kind: str, name: str, body: bytes) -> Tell:
    gone = ("shop/gone",) if kind == records.EXPORT else ()
    return Tell(Response(kind, "1", (Resource(name, "v", body),), gone))


FRAMES: Final[tuple[Frame, ...]] = (
    HELLO,
    Ask(Request(records.MEMBER, ("*",), ("x",), {"cloud": "v"}, "1", "no", {"cloud": "no"})),
    telling(records.EXPORT, str(CART), records.encode(RECORDS[records.EXPORT]).body),
    telling(records.LEAVE, ONPREM, b"{}"),
)


@dataclass
class Hub:
    """A hub with three members, two of which are honest, and the third of which is heard."""

    store: SqliteStore
    registry: Registry
    mirror: Mirror
    broadcast: Broadcast
    sessions: Sessions
    audit: Audit
    following: asyncio.Task[None]
    tokens: int = 0
    outside: dict[str, object] = field(default_factory=dict)

    @classmethod
    async def open(cls, folder: Path) -> "Hub":
        store = await SqliteStore.open(folder / "registry.db")
        registry, mirror, audit = Registry(store, 400), Mirror(store), builders.audit()
        await registry.set_federation(builders.federation(roots=(PKI.root_pem,)))
        await registry.policies.set(GRANTS, 0)
        doorkeeper = Doorkeeper(registry.members, "fed.example", lambda: NOW)
        broadcast, changes = Broadcast(mirror.clusterset), mirror.changes()
        sessions = Sessions(registry, broadcast, lambda: NOW, doorkeeper, audit, Turns())

        async def follow() -> None:
            async for change in changes:
                broadcast.follow(change)

        following = asyncio.create_task(follow())
        hub = cls(store, registry, mirror, broadcast, sessions, audit, following)
        for cluster in (ONPREM, *HONEST):
            await hub.join(cluster)
        for n, cluster in enumerate(HONEST):
            exports = {service: Export(service, (HTTP,), n + 1) for service in (CART, LEDGER)}
            await registry.offers.set_exports(cluster, exports, NOW - timedelta(days=n))
            gateway = GatewayRecord("gw-1", (f"203.0.113.{n + 1}",))
            await registry.offers.set_gateways(cluster, {gateway.name: gateway})
        hub.outside = await hub.outside_of_the_grant()
        return hub

    async def close(self) -> None:
        self.following.cancel()
        await asyncio.wait([self.following])
        await self.store.close()

    async def join(self, cluster: ClusterName) -> None:
        self.tokens += 1
        token = TokenRecord(f"t-{self.tokens}", "hash", cluster, NOW, NOW + timedelta(hours=1))
        await self.registry.tokens.add(token)
        request, anchor = JoinRequest(token.id, "hash", cluster), to_pem(PKI.issuing_ca(cluster).chain)
        await self.registry.members.join(request, f"{cluster}.fed.example", anchor, NOW)

    async def hear(self, hello: Hello, messages: list[bytes]) -> None:
        """Hear what onprem's agent says; only a refusal may end it sooner."""
        peer = Peer("ipv4:192.0.2.1:1", chain=PKI.agent(ONPREM).chain_pem)

        async def incoming() -> AsyncIterator[Frame]:
            for message in messages:
                yield frames.decode(message)

        async def send(frame: Frame) -> None:
            frames.encode(frame)

        with suppress(SyncRefused):
            frames.check_versions("agent", hello)
            async with self.sessions.session(peer, hello) as session:
                takes = [Subscription(kind, session.held.get(kind)) for kind in records.FROM_AGENTS]
                link = Link(session.catalogue, records.FROM_HUB, takes)
                await exchange(link, session, incoming(), send, Turns())

    async def lied_to(self, hello: Hello, messages: list[bytes]) -> None:
        """Hear *messages*, and see that nothing has changed that is none of onprem's business."""
        await self.hear(hello, messages)
        assert await self.outside_of_the_grant() == self.outside
        await self.restore()

    async def outside_of_the_grant(self) -> dict[str, object]:
        """All that onprem may not change: what is written of others, and what they are told of each other."""
        known = await self.known()
        seen: dict[str, object] = {"members": [m for m in known.members() if m.name != ONPREM]}
        for home in HONEST:
            imports = list(imports_for(known, home))
            check_what_onprem_offers(home, imports)
            seen[f"imports of {home}"] = [_without_onprem(each) for each in imports if set(_others(each))]
        member = known.member(ONPREM)
        if member:
            check_the_member(member)
        written = {item.key: item.value async for item in everything(self.store, keyspace.ROOT)}
        seen["written"] = {key: value for key, value in written.items() if not _of_onprem(key)}
        return seen

    async def known(self) -> Clusterset:
        mirror = Mirror(self.store)
        await anext(mirror.changes())
        return mirror.clusterset

    async def restore(self) -> None:
        """Have onprem be a member that offers nothing."""
        if ONPREM not in [member.name for member in await self.registry.members.list()]:
            await self.join(ONPREM)
        gone: dict[ServiceName, Export | None] = {
            export.service: None for export in await self.registry.offers.exports(ONPREM)
        }
        await self.registry.offers.set_exports(ONPREM, gone, NOW)
        names: dict[str, GatewayRecord | None] = {
            g.name: None for g in await self.registry.offers.gateways(ONPREM)
        }
        await self.registry.offers.set_gateways(ONPREM, names)


def check_what_onprem_offers(home: ClusterName, imports: list[Import]) -> None:
    """What is seen of onprem is what it is granted, where it is granted, and takes nothing from others."""
    for imported in imports:
        if ONPREM in (offering.cluster for offering in imported.offerings):
            assert home == CLOUD
            assert service_fits(GRANTED, imported.service)
        for offering in imported.offerings:
            assert offering.cluster == ONPREM or HTTP in offering.ports


def check_the_member(member: Member) -> None:
    """What others know of onprem is what it is by its certificates, and where it may be."""
    assert (member.trust_domain, len(member.anchors)) == ("onprem.fed.example", 1)
    addresses = [address for gateway in member.gateways for address in gateway.addresses]
    assert all(ip_address(address) in ip_network(RANGE) for address in addresses)


def _others(imported: Import) -> list[ClusterName]:
    return [offering.cluster for offering in imported.offerings if offering.cluster != ONPREM]


def _without_onprem(imported: Import) -> object:
    """What an import says of others; that they disagree with onprem may be said beside it."""
    others = [offering for offering in imported.offerings if offering.cluster != ONPREM]
    ports = [port for port in imported.ports if any(port in offering.ports for offering in others)]
    return imported.service, imported.index, imported.policy, ports, others


def _of_onprem(key: str) -> bool:
    """Whether a record is onprem's own, a service's place in the VIP range, or a token of this test."""
    match keyspace.parts(key):
        case (
            "clusters" | "status" | "alive" | "away" | "jwt-keys" | "revoked" | "withheld" | "accepted",
            name,
        ):
            return name == ONPREM
        case ("exports" | "gateways" | "said", name, *_):
            return name == ONPREM
        case ("services", *_) | ("vips", *_) | ("tokens", *_):
            return True
    return False


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def hub(runner: asyncio.Runner) -> Iterator[Hub]:
    with TemporaryDirectory(prefix="fg-") as folder:
        made = runner.run(Hub.open(Path(folder)))
        yield made
        runner.run(made.close())


def body_of(kind: str) -> Value:
    decoded: Value = msgspec.json.decode(records.encode(RECORDS[kind]).body)
    return decoded


def lied(kind: str, *some: Lie) -> Iterator[bytes]:
    """The record of *kind* with lies in it, under its own name, and under the name that it claims."""
    body = told(body_of(kind), *some)
    written = msgspec.json.encode(body)
    names = {records.name_of(RECORDS[kind])}
    if isinstance(body, dict):
        claimed = body.get("service") or body.get("cluster") or body.get("gateway") or body.get("name")
        if isinstance(claimed, dict):
            claimed = f"{claimed.get('namespace')!s}/{claimed.get('name')!s}"
        if isinstance(claimed, str):
            names.add(claimed)
    for name in sorted(names):
        yield frames.encode(telling(kind, name, written))


LIES: Final = {kind: tuple(lies(of(type(record)), body_of(kind))) for kind, record in RECORDS.items()}
FRAME_LIES: Final = tuple((plain(frame), tuple(lies(of(type(frame)), plain(frame)))) for frame in FRAMES)


def test_lies_are_told_in_all_that_a_member_may_tell_of() -> None:
    assert {*RECORDS, records.LEAVE} == set(records.FROM_AGENTS)


@pytest.mark.parametrize("kind", RECORDS)
def test_no_single_lie_in_a_record_changes_anything_outside_of_the_grant(
    runner: asyncio.Runner, hub: Hub, kind: str
) -> None:
    assert len(LIES[kind]) > 30
    for some in LIES[kind]:
        runner.run(hub.lied_to(Hello(ONPREM, NOW), list(lied(kind, some))))


@pytest.mark.parametrize("which", range(len(FRAMES)))
def test_no_single_lie_in_a_message_changes_anything_outside_of_the_grant(
    runner: asyncio.Runner, hub: Hub, which: int
) -> None:
    frame, possible = FRAME_LIES[which]
    for some in possible:
        message = msgspec.msgpack.encode(told(frame, some))
        runner.run(hub.lied_to(*heard(message)))


def heard(message: bytes) -> tuple[Hello, list[bytes]]:
    """What the hub hears: a greeting that can be read is one, anything else comes after an honest one."""
    with suppress(SyncRefused):
        if isinstance(frame := frames.decode(message), Hello):
            return frame, []
    return Hello(ONPREM, NOW), [message]


single_lies = st.sampled_from([(kind, lie) for kind, every in LIES.items() for lie in every])


@hostile(40)
@given(st.lists(single_lies, min_size=1, max_size=6))
def test_no_lies_together_change_anything_outside_of_the_grant(
    runner: asyncio.Runner, hub: Hub, made: list[tuple[str, Lie]]
) -> None:
    by_kind: dict[str, list[Lie]] = {}
    for kind, lie in made:
        by_kind.setdefault(kind, []).append(lie)
    messages = [message for kind, some in by_kind.items() for message in lied(kind, *some)]
    runner.run(hub.lied_to(Hello(ONPREM, NOW), messages))


def test_the_truth_changes_what_it_may(runner: asyncio.Runner, hub: Hub) -> None:
    """Else all of the above would hold of a hub that hears nothing."""

    async def say() -> None:
        await hub.hear(Hello(ONPREM, NOW), [message for kind in RECORDS for message in lied(kind)])
        known = await hub.known()
        (cart,) = (each for each in imports_for(known, CLOUD) if each.service == CART)
        assert [offering.cluster for offering in cart.offerings] == [CLOUD, EDGE, ONPREM]
        member = known.member(ONPREM)
        assert member
        assert [gateway.addresses for gateway in member.gateways] == [("192.0.2.1",)]
        assert member.jwt_keys
        assert member.revoked == ("shop/web",)
        await hub.restore()

    runner.run(say())


def test_what_is_refused_is_in_the_audit_record(runner: asyncio.Runner, hub: Hub) -> None:
    posing: Lie = (("service",), {"namespace": "pay", "name": "ledger"})
    runner.run(hub.lied_to(Hello(ONPREM, NOW), list(lied(records.EXPORT, posing))))
    assert any(event.action == "refused" and event.subject == ONPREM for event in hub.audit.waiting)
