"""Gateways that do not speak the protocol as they should: alone with the stream, and at the real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from gateway.ads import Ads
from gateway.delta import WILDCARD, Catalogue, Request, Resource, Response, Standing
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER, ROUTE
from gateway.messages import resource
from gateway.rpc import Peer, UnixListener
from gateway.spec import GatewaySpec, Role, to_metadata
from gateway.stream import Order, Stream
from tests.hostile.strategies import damaged, hostile, noise

# --- the stream, without a wire -------------------------------------------------------------------

KINDS: Final = (CLUSTER, ENDPOINT, LISTENER)
NAMES: Final = ("a", "b", "c", "vip|d", WILDCARD, "", "never")
ORDER: Final = Order(
    kinds=KINDS,
    companions={CLUSTER: ENDPOINT},
    referrers={CLUSTER: (ENDPOINT, LISTENER)},
    on_demand={CLUSTER: ("vip|",)},
)
MOST: Final = 6
STEP: Final = 4


class Client:
    """A gateway that says what a script of bytes has it say, and an observer of what it is told."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.stream = Stream(self.catalogue, ORDER, max_names=MOST)
        self.catalogue.listen(self.stream.changed)
        self.unanswered: dict[str, Response] = {}
        self._made = 0

    def play(self, script: bytes) -> None:
        for at in range(0, len(script) - STEP + 1, STEP):
            self._step(*script[at : at + STEP])

    def _step(self, what: int, which: int, names: int, answer: int) -> None:
        kind = KINDS[which % len(KINDS)]
        name = NAMES[names % len(NAMES)]
        match what % 8:
            case 0:
                self.catalogue.update(kind, {name: Resource(name, str(answer % 3), b"x" * (answer % 5))})
                self.hear(self.stream.flush())
            case 1:
                self.catalogue.update(kind, {name: None})
                self.hear(self.stream.flush())
            case 2:
                self._say(Request(kind, subscribe=self._invented(names), nonce=self._nonce(kind, answer)))
            case 3:
                held = {name: str(answer % 3), "held": "1"}
                self._say(Request(kind, (name,), initial_versions=held))
            case 4:
                self._say(Request(kind, unsubscribe=(name, "never"), nonce=self._nonce(kind, answer)))
            case 5:
                self._say(Request(kind, nonce=self._nonce(kind, answer), error="no" * (answer * 20)))
            case 6:
                self._say(Request(kind, (name, name), (name,), nonce=self._nonce(kind, answer)))
            case _:
                self._say(Request(kind, nonce=self._nonce(kind, answer)))

    def _invented(self, count: int) -> tuple[str, ...]:
        """Names that nobody has heard of, never the same again."""
        self._made += 1
        return tuple(f"n{self._made}-{each}" for each in range(count % 9))

    def _nonce(self, kind: str, choice: int) -> str:
        """The right one, one of another kind, one from the future, none, or nonsense."""
        right = self.unanswered.get(kind)
        others = [response.nonce for response in self.unanswered.values()]
        own = right.nonce if right else ""
        choices = ("", own, own, *others, str(choice), "\0")
        return choices[choice % len(choices)]

    def _say(self, request: Request) -> None:
        answered = self.unanswered.get(request.kind)
        if answered is not None and answered.nonce == request.nonce:
            del self.unanswered[request.kind]
        self.hear(self.stream.receive(request))

    def hear(self, responses: list[Response]) -> None:
        for response in responses:
            assert response.kind not in self.unanswered, "two responses of a kind are unanswered"
            self.unanswered[response.kind] = response
            for told in response.resources:
                assert told == self.catalogue.get(response.kind, told.name)
            for name in response.removed:
                assert self.catalogue.get(response.kind, name) is None
        for status in self.stream.status().values():
            # Beyond its bound it remembers what there was when it was asked for.
            assert status.subscribed <= MOST + len(NAMES)
            assert status.pending <= 3 * (MOST + len(NAMES))
            assert all(len(reason) <= 1_000 for reason in status.rejected.values())

    def behave(self) -> None:
        """Accept everything from now on."""
        for _ in range(200):
            if not self.unanswered:
                return
            kind, response = next(iter(self.unanswered.items()))
            self._say(Request(kind, nonce=response.nonce))
        raise AssertionError("the stream does not come to rest")


@hostile(200)
@given(st.binary(min_size=4 * STEP, max_size=40 * STEP))
def test_whatever_a_gateway_says_the_stream_keeps_its_promises(script: bytes) -> None:
    client = Client()
    client.play(script)
    client.behave()
    assert client.stream.standing is not Standing.STALE
    assert all(status.pending == 0 for status in client.stream.status().values())


# --- the server -----------------------------------------------------------------------------------

SPEC: Final = GatewaySpec("gw-1", frozenset(Role))
PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
# INTERNAL is what the client's library makes of writing to a call that has ended already.
ENDINGS: Final = (
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INTERNAL,
)


def greeting() -> DeltaDiscoveryRequest:
    message = DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=["a", "missing"])
    message.node.metadata.CopyFrom(to_metadata(SPEC))
    return message


def _messages() -> Iterator[bytes]:
    yield greeting().SerializeToString()
    told = greeting()
    told.initial_resource_versions["a"] = "1"
    told.initial_resource_versions["gone"] = "2"
    yield told.SerializeToString()
    yield DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce="1").SerializeToString()
    rejecting = DeltaDiscoveryRequest(type_url=LISTENER, response_nonce="2")
    rejecting.error_detail.code, rejecting.error_detail.message = 3, "no such filter"
    yield rejecting.SerializeToString()
    yield DeltaDiscoveryRequest(type_url=ROUTE, resource_names_unsubscribe=["*"]).SerializeToString()
    yield DeltaDiscoveryRequest(type_url="type.googleapis.com/unheard.of").SerializeToString()


MESSAGES: Final = tuple(_messages())


class Server:
    """An ADS server, and a channel to it."""

    def __init__(self, ads: Ads, channel: grpc.aio.Channel) -> None:
        self.ads = ads
        self._channel = channel

    async def converse(self, messages: list[bytes]) -> grpc.StatusCode:
        """Say *messages*, hear everything, hang up; how it ended."""
        call: grpc.aio.StreamStreamCall[bytes, bytes] = self._channel.stream_stream(PATH)()
        async with asyncio.timeout(10):
            try:
                for message in messages:
                    await call.write(message)
                await call.done_writing()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass  # it has ended already
            try:
                async for answer in call:
                    DeltaDiscoveryResponse.FromString(answer)
            except grpc.aio.AioRpcError:
                pass
            return await call.code()

    async def serves(self) -> bool:
        """Whether a gateway that behaves has what it asks for."""
        call: grpc.aio.StreamStreamCall[bytes, bytes] = self._channel.stream_stream(PATH)()
        await call.write(greeting().SerializeToString())
        async with asyncio.timeout(10):
            answer = await call.read()
        call.cancel()
        assert isinstance(answer, bytes)
        return [each.name for each in DeltaDiscoveryResponse.FromString(answer).resources] == ["a"]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Server]:
    catalogue = Catalogue()
    catalogue.update(CLUSTER, {"a": resource("a", StringValue(value="x"))})

    async def catalogue_for(_peer: Peer, _spec: GatewaySpec) -> Catalogue:
        return catalogue

    ads, listener = Ads(catalogue_for, max_names=100), UnixListener(folder / "ads.sock")
    async with ads.serving([listener]), grpc.aio.insecure_channel(f"unix:{listener.path}") as channel:
        yield Server(ads, channel)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def server(runner: asyncio.Runner) -> Iterator[Server]:
    with TemporaryDirectory(prefix="fg-") as folder:
        context = served(Path(folder))
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


any_message = st.one_of(st.sampled_from(MESSAGES), damaged(MESSAGES), damaged(MESSAGES), noise())


@hostile(60)
@given(first=st.one_of(st.just(MESSAGES[0]), any_message), rest=st.lists(any_message, max_size=4))
def test_whatever_arrives_the_server_answers_or_hangs_up(
    runner: asyncio.Runner, server: Server, first: bytes, rest: list[bytes]
) -> None:
    assert runner.run(server.converse([first, *rest])) in ENDINGS


def test_who_behaves_is_still_served_and_nobody_else_is_there(runner: asyncio.Runner, server: Server) -> None:
    async def quiet() -> None:
        async with asyncio.timeout(10):
            while server.ads.gateways():  # noqa: ASYNC110 (whoever hangs up says nothing here)
                await asyncio.sleep(0.01)

    assert runner.run(server.serves())
    runner.run(quiet())
