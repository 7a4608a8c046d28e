"""Agents and a hub over real connections, by mutual TLS on loopback."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TypeAlias

import grpc
import grpc.aio
import pytest

from clusters.names import ClusterName
from federation.errors import ChangesRejected, StoreClosed, SyncRefused
from federation.sync import frames, records
from federation.sync.client import LinkState, SyncClient, retry_delay
from federation.sync.exchange import Session
from federation.sync.frames import Ask, Bye, Hello, Welcome
from federation.sync.link import Link
from federation.sync.server import METHOD, SERVICE, SyncServer
from federation.sync.turns import Turns
from gateway.delta import Catalogue, Request, Resource
from gateway.rpc import Peer, TlsListener, TlsMaterial, channel_credentials
from tests.authorities import Authorities, Credential

WEST = ClusterName("west")
EXPORTS, IMPORTS = records.EXPORT, records.IMPORT


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities(now=datetime.now(UTC))


def material(credential: Credential, authorities: Authorities) -> TlsMaterial:
    return TlsMaterial(credential.chain_pem, credential.key_pem, authorities.root_pem)


def put(catalogue: Catalogue, kind: str, **bodies: str) -> None:
    catalogue.update(kind, {name: Resource.of(name, body.encode()) for name, body in bodies.items()})


class Side:
    """What one side publishes, and what has arrived from the other."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.arrived: dict[str, bytes] = {}
        self.deliveries: list[set[str]] = []
        self.objection: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def session(self) -> Session:
        held = {name: Resource.of(name, body).version for name, body in self.arrived.items()}
        return Session(self.catalogue, self._accept, {EXPORTS: held})

    async def has(self, **bodies: str) -> None:
        """Wait until exactly these have arrived."""
        wanted = {name: body.encode() for name, body in bodies.items()}
        async with asyncio.timeout(5):
            while self.arrived != wanted:
                self._changed.clear()
                await self._changed.wait()

    async def _accept(self, _kind: str, changes: Mapping[str, bytes | None]) -> None:
        self._changed.set()
        if changes:
            self.deliveries.append(set(changes))
        if self.objection is not None and changes:
            raise self.objection
        for name, body in changes.items():
            if body is None:
                self.arrived.pop(name, None)
            else:
                self.arrived[name] = body


class Hub(Side):
    """A hub that lets in whoever has a certificate."""

    def __init__(self, authorities: Authorities) -> None:
        super().__init__()
        self.tls = material(authorities.hub(), authorities)
        self.refusal: SyncRefused | None = None
        self.sessions: list[str] = []
        self.hello_deadline = 5.0
        self.server: SyncServer | None = None

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        server = SyncServer(
            self._session_for, Turns(), admit=self._admit, version="0.1.0", hello_deadline=self.hello_deadline
        )
        self.server = server
        listener = TlsListener(f"127.0.0.1:{port}", lambda: self.tls)
        async with server.serving([listener]) as (bound,):
            yield f"127.0.0.1:{bound}"

    async def _admit(self, _peer: Peer, _hello: Hello) -> None:
        if self.refusal is not None:
            raise self.refusal

    @asynccontextmanager
    async def _session_for(self, peer: Peer, hello: Hello) -> AsyncIterator[Session]:
        if self.refusal is not None:
            raise self.refusal
        self.sessions.append(f"+{hello.cluster} {peer.spiffe_id}")
        try:
            yield self.session
        finally:
            self.sessions.append(f"-{hello.cluster}")


class Agent(Side):
    """An agent of cluster `west`."""

    def __init__(self, authorities: Authorities, *addresses: str) -> None:
        super().__init__()
        self.tls = material(authorities.agent(WEST), authorities)
        self.pauses: list[float] = []
        self.addresses = addresses
        self.client = SyncClient(
            lambda: self.addresses,
            lambda: self.tls,
            lambda: Hello(WEST, datetime.now(UTC), "0.1.0"),
            self.session,
            pause=self._pause,
            chance=lambda: 1.0,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.01)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.client.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def state(self, condition: Callable[[LinkState], bool]) -> LinkState:
        """Wait for a state of the link."""
        async with asyncio.timeout(5):
            async for state in self.client.state:
                if condition(state):
                    return state
        raise AssertionError("a cell never ends")

    async def refused(self, code: str) -> LinkState:
        return await self.state(lambda state: state.code == code)


@pytest.fixture
async def hub(authorities: Authorities) -> Hub:
    return Hub(authorities)


async def test_what_either_side_publishes_arrives_at_the_other_and_so_does_what_changes(
    hub: Hub, authorities: Authorities
) -> None:
    put(hub.catalogue, IMPORTS, catalog="1")
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        put(agent.catalogue, EXPORTS, cart="1", pay="1")
        async with agent.running():
            await agent.has(catalog="1")
            await hub.has(cart="1", pay="1")
            put(hub.catalogue, IMPORTS, catalog="2")
            agent.catalogue.update(EXPORTS, {"cart": None})
            await agent.has(catalog="2")
            await hub.has(pay="1")
            state = agent.client.state.value
    assert (state.connected, state.address, state.hub_version) == (True, address, "0.1.0")
    assert abs(state.clock_skew) < 1
    assert hub.sessions == ["+west spiffe://west.fed.example/agent", "-west"]


async def test_when_the_hub_is_back_only_what_changed_meanwhile_crosses(
    hub: Hub, authorities: Authorities
) -> None:
    put(hub.catalogue, IMPORTS, same="1", newer="1", gone="1")
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        put(agent.catalogue, EXPORTS, cart="1", gone="1")
        running = agent.running()
        await running.__aenter__()
        await agent.has(same="1", newer="1", gone="1")
        await hub.has(cart="1", gone="1")
    await agent.state(lambda state: not state.connected)
    put(hub.catalogue, IMPORTS, newer="2")
    hub.catalogue.update(IMPORTS, {"gone": None})
    agent.catalogue.update(EXPORTS, {"gone": None})
    agent.deliveries.clear()
    hub.deliveries.clear()
    async with hub.serving(int(address.rpartition(":")[2])):
        await agent.has(same="1", newer="2")
        await hub.has(cart="1")
    await running.__aexit__(None, None, None)
    assert (agent.deliveries, hub.deliveries) == ([{"newer", "gone"}], [{"gone"}])


async def test_what_a_hub_rejects_stays_out_until_it_changes(hub: Hub, authorities: Authorities) -> None:
    hub.objection = ChangesRejected("not in your namespaces")
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        put(agent.catalogue, EXPORTS, cart="1")
        async with agent.running():
            async with asyncio.timeout(5):
                while not hub.deliveries:  # noqa: ASYNC110 (it is rejected, so nothing arrives)
                    await asyncio.sleep(0)
            hub.objection = None
            put(agent.catalogue, EXPORTS, cart="2")
            await hub.has(cart="2")
            assert len(hub.sessions) == 1
    assert hub.deliveries == [{"cart"}, {"cart"}]


async def test_what_a_hub_could_not_keep_is_told_again_on_the_next_connection(
    hub: Hub, authorities: Authorities
) -> None:
    hub.objection = StoreClosed()
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        put(agent.catalogue, EXPORTS, cart="1")
        async with agent.running():
            await agent.refused("unavailable")
            hub.objection = None
            await hub.has(cart="1")


async def test_with_a_new_certificate_the_agent_connects_anew_and_loses_nothing(
    hub: Hub, authorities: Authorities
) -> None:
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        put(agent.catalogue, EXPORTS, cart="1")
        async with agent.running():
            await hub.has(cart="1")
            agent.tls = material(authorities.agent(WEST), authorities)
            agent.client.renew()
            async with asyncio.timeout(5):
                while len(hub.sessions) < 3:  # noqa: ASYNC110  the server's list has no event
                    await asyncio.sleep(0.005)
            put(agent.catalogue, EXPORTS, cart="2")
            await hub.has(cart="2")
            assert agent.client.state.value.connected
    who = "west spiffe://west.fed.example/agent"
    assert hub.sessions == [f"+{who}", "-west", f"+{who}", "-west"]
    assert agent.pauses == []


async def test_the_agent_goes_on_to_the_next_hub(hub: Hub, authorities: Authorities) -> None:
    put(hub.catalogue, IMPORTS, catalog="1")
    async with hub.serving() as address:
        agent = Agent(authorities, "127.0.0.1:1", address)
        async with agent.running():
            await agent.has(catalog="1")
    assert agent.pauses == []


async def test_an_agent_goes_to_another_hub_at_once_and_only_what_changed_is_told(
    hub: Hub, authorities: Authorities
) -> None:
    other = Hub(authorities)
    put(hub.catalogue, IMPORTS, catalog="1", cart="1")
    put(other.catalogue, IMPORTS, catalog="1", cart="2")
    other.arrived = {"web": b"1"}
    async with other.serving() as second, hub.serving() as first:
        agent = Agent(authorities, first)
        put(agent.catalogue, EXPORTS, web="1", api="1")
        async with agent.running():
            await hub.has(web="1", api="1")
            await agent.has(catalog="1", cart="1")
            agent.addresses = (first, second)  # a hub that was added
            assert hub.server is not None
            hub.server.end("spiffe://west.fed.example/agent", SyncRefused("closed", "it goes"))
            await agent.has(catalog="1", cart="2")
            await other.has(web="1", api="1")
            assert agent.client.state.value.address == second
            assert agent.pauses == []
    assert agent.deliveries[-1] == {"cart"}
    assert other.deliveries == [{"api"}]


async def test_when_no_hub_answers_the_agent_pauses_before_it_asks_them_all_again(
    authorities: Authorities,
) -> None:
    agent = Agent(authorities, "127.0.0.1:1", "127.0.0.1:2")
    async with agent.running(), asyncio.timeout(10):
        while len(agent.pauses) < 2:  # noqa: ASYNC110  they have no event
            await asyncio.sleep(0.005)
    assert agent.pauses[:2] == [retry_delay(2, 1.0), retry_delay(3, 1.0)]


async def test_a_refused_agent_is_told_why_and_tries_again(hub: Hub, authorities: Authorities) -> None:
    hub.refusal = SyncRefused("not-a-member", "cluster west is not in the clusterset", "join again")
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        async with agent.running():
            state = await agent.refused("not-a-member")
            assert (state.reason, state.hint) == ("cluster west is not in the clusterset", "join again")
            hub.refusal = None
            assert (await agent.state(lambda state: state.connected)).reason == ""


async def test_a_hub_of_another_federation_is_not_spoken_to(authorities: Authorities) -> None:
    stranger = Hub(Authorities(now=datetime.now(UTC)))
    async with stranger.serving() as address:
        agent = Agent(authorities, address)
        async with agent.running():
            await agent.refused("unreachable")
    assert stranger.sessions == []


async def test_an_agent_posing_as_a_hub_is_not_spoken_to(hub: Hub, authorities: Authorities) -> None:
    hub.tls = material(authorities.agent("east"), authorities)
    async with hub.serving() as address:
        agent = Agent(authorities, address)
        async with agent.running():
            await agent.refused("unreachable")
    assert hub.sessions == []


async def test_a_second_connection_of_an_agent_ends_the_first_before_it_begins(
    hub: Hub, authorities: Authorities
) -> None:
    async with hub.serving() as address, spoken(address, authorities) as first:
        await first.write(frames.encode(Hello(WEST, datetime.now(UTC))))
        await heard(first)
        async with spoken(address, authorities) as second:
            await second.write(frames.encode(Hello(WEST, datetime.now(UTC))))
            await heard(second)
            assert hub.sessions[1:] == ["-west", hub.sessions[0]]
            assert await last(first) == Bye("superseded", "another connection of this agent has taken over")


async def test_an_agent_is_hung_up_on_and_told_why_and_others_are_not(
    hub: Hub, authorities: Authorities
) -> None:
    async with hub.serving() as address, spoken(address, authorities) as theirs:
        await theirs.write(frames.encode(Hello(WEST, datetime.now(UTC))))
        await heard(theirs)
        server = hub.server
        assert server
        server.end("spiffe://east.fed.example/agent", SyncRefused("evicted", "east was evicted"))
        for _ in range(2):
            server.end("spiffe://west.fed.example/agent", SyncRefused("evicted", "west was evicted"))
        assert await last(theirs) == Bye("evicted", "west was evicted")
        assert hub.sessions[1:] == ["-west"]


async def test_who_is_refused_ends_nobodys_connection(hub: Hub, authorities: Authorities) -> None:
    async with hub.serving() as address, spoken(address, authorities) as first:
        await first.write(frames.encode(Hello(WEST, datetime.now(UTC))))
        await heard(first)
        hub.refusal = SyncRefused("not-this-cluster", "west was joined again elsewhere")
        async with spoken(address, authorities) as second:
            await second.write(frames.encode(Hello(WEST, datetime.now(UTC))))
            assert await last(second) == Bye("not-this-cluster", "west was joined again elsewhere")
        assert len(hub.sessions) == 1


# --- what a client of ours would not say ----------------------------------------------------------------

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"


@asynccontextmanager
async def spoken(address: str, authorities: Authorities) -> AsyncIterator["Call"]:
    """A connection on which the test says what it likes."""
    credentials = channel_credentials(material(authorities.agent(WEST), authorities))
    options = (
        ("grpc.ssl_target_name_override", "hub.fedgate.internal"),
        ("grpc.use_local_subchannel_pool", 1),
    )
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        yield channel.stream_stream(f"/{SERVICE}/{METHOD}")()


async def heard(call: "Call") -> frames.Frame:
    async with asyncio.timeout(5):
        message = await call.read()
    assert isinstance(message, bytes)
    return frames.decode(message)


async def last(call: "Call") -> frames.Frame:
    """The last frame before the other side hangs up."""
    said: list[bytes] = []
    async with asyncio.timeout(5):
        while message := await call.read():
            assert isinstance(message, bytes)
            said.append(message)
    return frames.decode(said[-1])


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"garbage", "bad-frame"),
        (frames.encode(Bye("bye", "")), "no-hello"),
        (frames.encode(Hello(WEST, datetime.now(UTC), protocol=frames.PROTOCOL + 2)), "protocol-unsupported"),
        (frames.encode(Hello(WEST, datetime.now(UTC), schema=frames.SCHEMA + 2)), "schema-unsupported"),
    ],
    ids=["garbage", "no hello", "protocol", "schema"],
)
async def test_who_opens_wrongly_is_told_so(
    hub: Hub, authorities: Authorities, message: bytes, code: str
) -> None:
    async with hub.serving() as address, spoken(address, authorities) as call:
        await call.write(message)
        answer = await last(call)
    assert isinstance(answer, Bye)
    assert answer.code == code
    assert hub.sessions == []


async def test_who_says_nothing_is_not_waited_for(hub: Hub, authorities: Authorities) -> None:
    hub.hello_deadline = 0.01
    async with hub.serving() as address, spoken(address, authorities) as call:
        assert await last(call) == Bye("no-hello", "no hello within 0.01 s")


async def test_a_second_hello_ends_the_connection(hub: Hub, authorities: Authorities) -> None:
    hello = frames.encode(Hello(WEST, datetime.now(UTC)))
    async with hub.serving() as address, spoken(address, authorities) as call:
        await call.write(hello)
        await call.write(hello)
        answer = await last(call)
    assert answer == Bye("bad-frame", "a Hello in the middle of a connection")
    assert hub.sessions[-1] == "-west"


async def taken_over(_hub: Hub, address: str, authorities: Authorities, _call: "Call") -> None:
    async with spoken(address, authorities) as second:
        await second.write(frames.encode(Hello(WEST, datetime.now(UTC))))
        await heard(second)
        await second.done_writing()
        await last(second)


async def hung_up_on(hub: Hub, _address: str, _authorities: Authorities, _call: "Call") -> None:
    assert hub.server
    hub.server.end("spiffe://west.fed.example/agent", SyncRefused("evicted", "west was evicted"))


async def done_with(_hub: Hub, _address: str, _authorities: Authorities, call: "Call") -> None:
    await call.done_writing()


async def broken_off(_hub: Hub, _address: str, _authorities: Authorities, call: "Call") -> None:
    call.cancel()


async def saying_what_makes_no_sense(
    _hub: Hub, _address: str, _authorities: Authorities, call: "Call"
) -> None:
    await call.write(b"garbage")


async def told_why_in_vain(hub: Hub, address: str, authorities: Authorities, call: "Call") -> None:
    await hung_up_on(hub, address, authorities, call)
    call.cancel()


@pytest.mark.parametrize(
    "end", [taken_over, hung_up_on, told_why_in_vain, done_with, broken_off, saying_what_makes_no_sense]
)
async def test_what_a_connection_had_is_freed_when_it_ends(
    hub: Hub, authorities: Authorities, end: Callable[[Hub, str, Authorities, "Call"], Awaitable[None]]
) -> None:
    """Without the garbage collector: what that has seen once, it leaves alone (`keep_what_stays`)."""
    put(hub.catalogue, IMPORTS, cart="1")
    gc.collect()
    gc.disable()
    try:
        async with hub.serving() as address:
            async with spoken(address, authorities) as call:
                await call.write(frames.encode(Hello(WEST, datetime.now(UTC))))
                await call.write(frames.encode(Ask(Request(IMPORTS))))
                assert isinstance(await heard(call), Welcome)
                await heard(call)
                assert links()
                await end(hub, address, authorities, call)
                with suppress(asyncio.CancelledError):
                    await last(call)
            async with asyncio.timeout(5):
                while links():  # noqa: ASYNC110  nobody says when
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()


def links() -> int:
    return sum(type(each) is Link for each in gc.get_objects())


def test_the_wait_grows_to_a_limit_and_is_anything_below_it_by_chance() -> None:
    assert [retry_delay(failures, 1.0) for failures in (1, 2, 3, 1000)] == [0.5, 1.0, 2.0, 5.0]
    assert retry_delay(1000, 0.5) == 2.5
