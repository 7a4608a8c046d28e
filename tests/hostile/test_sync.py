"""Agents and hubs that lie to each other: frames that are none, records that are wrong, batches half good."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.errors import ClusterError
from clusters.jwt_key import JwtKeys
from clusters.keyring import published
from clusters.model import ClusterView, Export, Federation, GatewayRecord, Import, Member, Offer
from clusters.names import ClusterName, ServiceName
from clusters.reports import Probe, Probes
from clusters.verdict import UNSAID, Published, Verdict
from federation.broadcast import Broadcast
from federation.dns.zone import Zone
from federation.doorkeeper import Doorkeeper
from federation.errors import ChangesRejected, FederationError, SyncRefused, UnreadableRecord
from federation.knowledge import Knowledge, Learned
from federation.last_view import LastView, Owners, Received, decode, encode
from federation.registry import keyspace
from federation.registry.grants import Grants, Limits
from federation.registry.ledger import everything
from federation.registry.members import JoinRequest
from federation.registry.mirror import Mirror
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.sessions import Sessions
from federation.sync import frames, records
from federation.sync.exchange import Session, exchange
from federation.sync.frames import Again, Ask, Bye, Frame, Hello, Tell, Welcome
from federation.sync.link import Link
from federation.sync.turns import Turns
from gateway.delta import Catalogue, Request, Resource, Response
from gateway.errors import GatewayError
from gateway.rpc import Peer
from gateway.spec import GatewaySpec, Role
from gateway.subscription import Subscription
from gateway.translate import translate
from pki.authority import to_pem
from pki.jwt_keys import SigningKey
from tests import builders
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, ONPREM
from tests.hostile.strategies import Value, confused, damaged, documents, hostile, noise

PKI: Final = Authorities()
REFUSALS: Final = (ChangesRejected, UnreadableRecord, ClusterError)
CART: Final = Export(ServiceName("shop", "cart"), (builders.HTTP,), 2)
EXPORTS: Final = (CART, Export(ServiceName("shop", "db"), (builders.HTTP,), 0))
GATEWAYS: Final = (
    GatewayRecord("gw-1", ("192.0.2.1", "gw.example")),
    GatewayRecord("gw-2", ("2001:db8::1",)),
)
JWT_KEYS: Final = (
    JwtKeys(ONPREM, (published(SigningKey.new(NOW)), published(SigningKey.new(NOW)))),
    JwtKeys(CLOUD),
)
PROBES: Final = (Probes("gw-1", (Probe(CLOUD, "192.0.2.9", False, NOW, "timed out"),)), Probes("gw-2"))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def bodies(*said: records.Record) -> tuple[Value, ...]:
    return tuple(msgspec.json.decode(records.encode(record).body) for record in said)


def batches(corpus: tuple[records.Record, ...]) -> st.SearchStrategy[dict[str, bytes | None]]:
    """What is told of one kind: some of it as it should be, some of it gone, some of it hostile."""
    named = [records.name_of(record) for record in corpus]
    right = st.sampled_from([(records.name_of(record), records.encode(record).body) for record in corpus])
    wrong = st.tuples(
        st.sampled_from([*named, "shop/other", "", "/", "a/b/c", "é", "x" * 300]), documents(bodies(*corpus))
    )
    gone = st.tuples(st.sampled_from([*named, "shop/never", "never", "", "\0"]), st.none())
    return st.lists(st.one_of(right, wrong, gone), max_size=4).map(dict)


# --- frames ---------------------------------------------------------------------------------------

TOLD: Final = Response(records.IMPORT, "1", (Resource("shop/cart", "v", b"{}"),), ("shop/gone",))
FRAMES: Final[tuple[Frame, ...]] = (
    Hello(ONPREM, NOW, "1.0", vip_ranges=("241.0.0.0/16",)),
    Welcome(NOW, "1.0"),
    Ask(Request(records.EXPORT, ("*", "a"), ("b",), {"shop/cart": "v"}, "1", "no")),
    Tell(TOLD),
    Bye("left", "gone"),
)
WRITTEN: Final = tuple(frames.encode(frame) for frame in FRAMES)
FIELDS: Final[tuple[Value, ...]] = tuple(msgspec.msgpack.decode(written) for written in WRITTEN)

any_frame = st.one_of(
    st.sampled_from(WRITTEN),
    confused(FIELDS).map(msgspec.msgpack.encode),
    damaged(WRITTEN),
    noise(),
    st.sampled_from((10, 2_000, 50_000)).map(lambda depth: b"\x82\xa4type\xa3bye\xa1x" + b"\x91" * depth),
)


@hostile(300)
@given(any_frame)
def test_any_message_is_a_frame_or_refused(message: bytes) -> None:
    with suppress(SyncRefused):
        frame = frames.decode(message)
        if isinstance(frame, Hello | Welcome):
            frames.check_versions("agent", frame)
        else:
            assert frames.decode(frames.encode(frame)) == frame


class Side:
    """One side of a connection whose other side says whatever it likes."""

    def __init__(self, publishes: tuple[str, ...], takes: tuple[str, ...]) -> None:
        self.catalogue = Catalogue()
        for kind in publishes:
            self.catalogue.update(kind, {"shop/cart": Resource.of("shop/cart", b"{}")})
        self.applied: dict[str, bytes | None] = {}
        self.sent: list[Frame] = []
        self._publishes = publishes
        self._takes = takes

    async def hear(self, messages: list[bytes]) -> None:
        """Hear *messages* to their end; only a refusal may end it sooner."""

        async def incoming() -> AsyncIterator[Frame]:
            for message in messages:
                yield frames.decode(message)

        async def send(frame: Frame) -> None:
            self.sent.append(frames.decode(frames.encode(frame)))

        async def accept(_kind: str, changes: Mapping[str, bytes | None]) -> None:
            if b"" in changes.values():
                raise ChangesRejected("empty")
            self.applied |= changes

        link = Link(self.catalogue, self._publishes, [Subscription(kind) for kind in self._takes])
        session = Session(self.catalogue, accept)
        with suppress(SyncRefused):
            await exchange(link, session, incoming(), send, Turns())


@hostile(60)
@given(at_hub=st.booleans(), messages=st.lists(any_frame, max_size=5))
def test_a_connection_ends_in_order_whatever_is_said_on_it(
    runner: asyncio.Runner, at_hub: bool, messages: list[bytes]
) -> None:
    sides = (records.FROM_HUB, records.FROM_AGENTS)
    publishes, takes = sides if at_hub else sides[::-1]
    side = Side(publishes, takes)
    runner.run(side.hear(messages))
    assert all(isinstance(frame, Ask | Tell | Again) for frame in side.sent)
    assert len(side.sent) <= len(takes) + 3 * len(messages)


PRESENCE: Final = (keyspace.ALIVE, keyspace.status(ClusterName("")))


# --- what an agent says to its hub ----------------------------------------------------------------


class Hub:
    """A hub with two members, and what it has written down."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.registry = Registry(store, 20)
        self.mirror = Mirror(store)
        self.broadcast = Broadcast(self.mirror.clusterset)
        doorkeeper = Doorkeeper(self.registry.members, "fed.example", lambda: NOW)
        self.sessions = Sessions(
            self.registry,
            self.broadcast,
            lambda: NOW,
            doorkeeper,
            builders.audit(),
            Turns(),
        )

    async def open(self) -> None:
        await self.registry.set_federation(Federation("fed.example", (PKI.root_pem,), builders.VIP_RANGES))
        # Each example is told on a connection of its own.
        await self.registry.policies.set(Grants(limits=Limits(changes_per_second=1 << 30)), 0)
        for cluster in (ONPREM, CLOUD):
            token = TokenRecord(f"t-{cluster}", "hash", cluster, NOW, NOW + timedelta(hours=1))
            await self.registry.tokens.add(token)
            anchor = to_pem(PKI.issuing_ca(cluster).chain)
            await self.registry.members.join(
                JoinRequest(token.id, "hash", cluster), f"{cluster}.fed.example", anchor, NOW
            )
        self.following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        self.following.cancel()
        await asyncio.wait([self.following])
        await self.store.close()

    async def _follow(self) -> None:
        async for change in self.mirror.changes():
            self.broadcast.follow(change)

    async def written(self) -> dict[str, bytes]:
        """All that is in the registry, but for who was seen when."""
        keys = [item async for item in everything(self.store, keyspace.ROOT)]
        return {item.key: item.value for item in keys if not item.key.startswith(PRESENCE)}

    async def told(self, kind: str, changes: Mapping[str, bytes | None]) -> bool:
        """Have `onprem` say *changes*; whether they were taken."""
        peer = Peer("ipv4:192.0.2.1:1", chain=PKI.agent(ONPREM).chain_pem)
        async with self.sessions.session(peer, Hello(ONPREM, NOW)) as session:
            try:
                await session.accept(kind, changes)
            except REFUSALS:
                return False
        return True

    async def mirrored(self) -> Catalogue:
        """What every agent would be told now."""
        mirror = Mirror(self.store)
        broadcast, changes = Broadcast(mirror.clusterset), mirror.changes()
        broadcast.follow(await anext(changes))
        await changes.aclose()  # type: ignore[attr-defined]
        return broadcast.catalogue


@pytest.fixture(scope="module")
def hub(runner: asyncio.Runner) -> Iterator[Hub]:
    with TemporaryDirectory(prefix="fg-") as folder:
        made = Hub(runner.run(SqliteStore.open(Path(folder) / "registry.db")))
        runner.run(made.open())
        yield made
        runner.run(made.close())


@hostile(40)
@given(
    told=st.one_of(
        st.tuples(st.just(records.EXPORT), batches(EXPORTS)),
        st.tuples(st.just(records.GATEWAY), batches(GATEWAYS)),
        st.tuples(st.just(records.PROBES), batches(PROBES)),
        st.tuples(st.just(records.JWT_KEYS), batches(JWT_KEYS)),
        st.tuples(st.sampled_from((records.MEMBER, records.IMPORT, "other")), batches(EXPORTS)),
    )
)
def test_what_an_agent_says_is_written_down_whole_or_not_at_all(
    runner: asyncio.Runner, hub: Hub, told: tuple[str, dict[str, bytes | None]]
) -> None:
    async def say() -> None:
        before = await hub.written()
        taken = await hub.told(*told)
        after = await hub.written()
        assert taken or after == before
        others = {key for key in after.keys() ^ before.keys() if keyspace.exports(CLOUD) in key}
        assert not others

    runner.run(say())


def test_what_was_taken_from_an_agent_can_be_told_to_all(runner: asyncio.Runner, hub: Hub) -> None:
    catalogue = runner.run(hub.mirrored())
    assert catalogue.names(records.MEMBER) == {ONPREM, CLOUD}
    knowledge = Agent().knowledge
    for kind in records.FROM_HUB:
        told = {
            name: resource.body for name in catalogue.names(kind) if (resource := catalogue.get(kind, name))
        }
        runner.run(knowledge.accept(kind, told))


# --- what a hub says to an agent ------------------------------------------------------------------

SPEC: Final = GatewaySpec("gw-1", frozenset(Role))
FEDERATIONS: Final = (builders.federation(roots=(PKI.root_pem,)),)
MEMBERS: Final[tuple[Member, ...]] = (
    builders.member(CLOUD, "192.0.2.9", anchors=(to_pem(PKI.issuing_ca(CLOUD).chain),)),
    builders.member(ONPREM, "192.0.2.8", anchors=(to_pem(PKI.issuing_ca(ONPREM).chain),)),
)
IMPORTS: Final[tuple[Import, ...]] = (
    builders.imported("cart", CLOUD, ONPREM),
    builders.imported("db", ClusterName("east"), index=2),
)


VERDICTS: Final = (
    Verdict(Published.SERVICE, "shop/cart", "no grant", (CLOUD,)),
    Verdict(Published.SERVICE, UNSAID, callers=()),
    Verdict(Published.GATEWAY, "gw-1", "127.0.0.1 is loopback"),
)


class Agent:
    """What an agent knows, and what follows from it: its DNS zone and its gateway's configuration."""

    def __init__(self) -> None:
        received = Received(FEDERATIONS[0], {m.name: m for m in MEMBERS}, {i.service: i for i in IMPORTS})
        self.knowledge = Knowledge(ONPREM, received, PKI.roots, (), lambda: NOW)
        self.zone = Zone(self.knowledge.view)
        self.snapshot = translate(self.knowledge.view, SPEC)
        self.knowledge.follow(self._followed)

    @property
    def state(self) -> tuple[ClusterView, Received, dict[str, object]]:
        """All that could be half new."""
        return self.knowledge.view, self.knowledge.received, dict(self.snapshot.resources())

    def _followed(self, learned: Learned) -> None:
        with suppress(FederationError, ClusterError):
            self.snapshot = translate(learned.view, SPEC, self.snapshot)
        self.zone.update(learned.view, learned.services)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@hostile(60)
@given(
    told=st.one_of(
        st.tuples(st.just(records.IMPORT), batches(IMPORTS)),
        st.tuples(st.just(records.MEMBER), batches(MEMBERS)),
        st.tuples(st.just(records.FEDERATION), batches(FEDERATIONS)),
        st.tuples(st.just(records.VERDICT), batches(VERDICTS)),
    )
)
def test_what_a_hub_says_is_believed_whole_or_not_at_all(
    runner: asyncio.Runner, told: tuple[str, dict[str, bytes | None]]
) -> None:
    agent = Agent()
    before = agent.state
    try:
        runner.run(agent.knowledge.accept(*told))
    except REFUSALS:
        assert agent.state == before
        assert agent.zone == Zone(agent.knowledge.view)
        return
    assert agent.zone == Zone(agent.knowledge.view)
    agent.snapshot.check()
    kept = decode(encode(LastView(agent.knowledge.received, agent.knowledge.view.offer)), "view.json")
    assert kept.received == agent.knowledge.received


SERVICE: Final = builders.local_service("cart", "10.0.0.1", "fd00::1", down=("10.0.0.1",))
LAST: Final = LastView(
    Agent().knowledge.received,
    Offer({SERVICE.service: SERVICE}, (builders.workload("web", "10.0.0.7"),), GATEWAYS),
    Owners({"10.0.0.7": ("shop", "web"), "10.0.0.8": ("shop", "gone")}, NOW),
)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@hostile(60)
@given(documents((msgspec.json.decode(encode(LAST)),)))
def test_a_view_that_a_disk_has_spoilt_is_refused_or_one_to_start_with(content: bytes) -> None:
    try:
        last = decode(content, "view.json")
    except UnreadableRecord:
        return
    knowledge = Knowledge(ONPREM, last.received, PKI.roots, (), lambda: NOW, last.owners)
    knowledge.offer(last.offer)
    Zone(knowledge.view)
    with suppress(GatewayError):
        translate(knowledge.view, SPEC).check()
    encode(LastView(knowledge.received, knowledge.view.offer, knowledge.owners))
