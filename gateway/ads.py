"""The ADS server: every gateway's stream of configuration, and how far each gateway is.

One stream carries all kinds (`DeltaAggregatedResources`). What to say is decided in `gateway.stream`; here
messages are parsed and framed, and each gateway is asked who it is before it is told anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.message import DecodeError

from gateway import kinds, names
from gateway.delta import Catalogue, KindStatus, Request, Response, Standing
from gateway.errors import GatewayError
from gateway.rpc import Context, Listener, Outlet, Peer, peer_of, serving
from gateway.spec import GatewaySpec, from_metadata
from gateway.stream import MAX_NAMES, Order, Stream

_SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_METHOD: Final = "DeltaAggregatedResources"

# A route or an endpoint may name a cluster until the gateway has taken what no longer does. Secrets are not
# here: taking one away withdraws trust, and waits for nothing.
_ORDER: Final = Order(
    kinds=kinds.IN_ORDER,
    companions={kinds.CLUSTER: kinds.ENDPOINT},
    referrers={kinds.CLUSTER: (kinds.ENDPOINT, kinds.LISTENER, kinds.ROUTE)},
    on_demand={kinds.CLUSTER: names.ON_DEMAND},
)

# Who answers what it has not read (a nonce can be guessed) is not listened to while so much waits for it.
_MAX_UNSENT: Final = 64
_LAST_WORDS: Final = 1.0

CatalogueFor = Callable[[Peer, GatewaySpec], Awaitable[Catalogue]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """One connected gateway. `since` is when `standing` became what it is; `kinds` goes by type URL.

    `anchors` are the versions of the clusters' anchors that it has acknowledged, by the secret's name.
    """

    spec: GatewaySpec
    peer: Peer
    connected: datetime
    standing: Standing
    since: datetime
    kinds: Mapping[str, KindStatus]
    anchors: Mapping[str, str] = field(default_factory=dict)

    @property
    def detail(self) -> str:
        """What the gateway rejects, and why; empty if nothing."""
        return "; ".join(
            f"{kinds.SHORT.get(kind, kind)} {name}: {text}"
            for kind, status in self.kinds.items()
            for name, text in status.rejected.items()
        )


class Ads:
    """Serves each gateway from the catalogue that *catalogue_for* gives it.

    *catalogue_for* raises GatewayRefused for one that shall have nothing. *moved* is called when a gateway
    comes or goes, or has answered for secrets.
    """

    def __init__(
        self,
        catalogue_for: CatalogueFor,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_names: int = MAX_NAMES,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._catalogue_for = catalogue_for
        self._moved = moved
        self._now = now
        self._max_names = max_names
        self._connections: set[_Connection] = set()

    def serving(self, listeners: Sequence[Listener]) -> AbstractAsyncContextManager[tuple[int, ...]]:
        """Serve on *listeners* until the block is left; gives the port of each, 0 for a unix socket."""
        return serving(_SERVICE, _METHOD, self._delta_aggregated_resources, listeners)

    def gateways(self) -> tuple[GatewayStatus, ...]:
        """Who is connected and how far each is, by name."""
        return tuple(sorted((c.status() for c in self._connections), key=lambda status: status.spec.name))

    async def _delta_aggregated_resources(self, messages: AsyncIterator[bytes], context: Context) -> None:
        peer = peer_of(context)
        try:
            first = _parse(await anext(messages))
            spec = from_metadata(first.node.metadata)
            catalogue = await self._catalogue_for(peer, spec)
        except StopAsyncIteration:
            return
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except GatewayError as error:
            _log(logging.WARNING, "gateway refused", peer=peer.address, id=peer.spiffe_id, reason=error)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        stream = Stream(catalogue, _ORDER, max_names=self._max_names)
        connection = _Connection(spec, peer, stream, self._now, self._moved)
        self._connections.add(connection)
        self._moved()
        stop_listening = catalogue.listen(connection.changed)
        _log(logging.INFO, "gateway connected", gateway=spec.name, peer=peer.address)
        try:
            await connection.converse(first, messages, context)
        finally:
            stop_listening()
            self._connections.discard(connection)
            self._moved()
            _log(logging.INFO, "gateway disconnected", gateway=spec.name, peer=peer.address)


class _Connection:
    """One gateway's stream, from its first request on."""

    def __init__(
        self,
        spec: GatewaySpec,
        peer: Peer,
        stream: Stream,
        now: Callable[[], datetime],
        moved: Callable[[], None],
    ) -> None:
        self._moved = moved
        self._spec = spec
        self._peer = peer
        self._stream = stream
        self._now = now
        self._connected = self._since = now()
        self._standing = Standing.SYNCED
        self._outbox: list[Response] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def status(self) -> GatewayStatus:
        return GatewayStatus(
            self._spec,
            self._peer,
            self._connected,
            self._standing,
            self._since,
            self._stream.status(),
            self._stream.held(kinds.SECRET, names.ANCHORS),
        )

    def changed(self, kind: str, names: Set[str]) -> None:
        """Hear from the catalogue; what is set in one go there is sent in order, in one go."""
        self._stream.changed(kind, names)
        self._wake.set()

    async def converse(
        self, first: DeltaDiscoveryRequest, messages: AsyncIterator[bytes], context: Context
    ) -> None:
        """Listen and answer until the gateway hangs up."""
        fault, outlet = "", Outlet(context)
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(outlet))
                self._hear(first)
                async for message in messages:
                    self._hear(_parse(message))
                    await self._room.wait()
                writer.cancel()
        except* DecodeError as errors:
            fault = str(errors.exceptions[0])
        await outlet.settle(_LAST_WORDS)
        if fault:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, fault)

    def _hear(self, message: DeltaDiscoveryRequest) -> None:
        request = _request(message)
        if request.kind not in kinds.SHORT:
            _log(logging.WARNING, "kind not served", gateway=self._spec.name, kind=request.kind)
            return
        if request.error:
            kind = kinds.SHORT[request.kind]
            _log(
                logging.WARNING,
                "resources rejected",
                gateway=self._spec.name,
                kind=kind,
                reason=request.error,
            )
        self._outbox += self._stream.receive(request)
        if len(self._outbox) >= _MAX_UNSENT:
            self._room.clear()
        self._wake.set()
        self._note_standing()
        if request.kind == kinds.SECRET:
            self._moved()

    async def _write(self, outlet: Outlet) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            responses = [*self._outbox, *self._stream.flush()]
            self._outbox.clear()
            self._room.set()
            self._note_standing()
            for response in responses:
                await outlet.send(_frame(response))

    def _note_standing(self) -> None:
        if self._stream.standing is not self._standing:
            self._standing = self._stream.standing
            self._since = self._now()


def _parse(message: bytes) -> DeltaDiscoveryRequest:
    request = DeltaDiscoveryRequest()
    request.ParseFromString(message)
    return request


def _request(message: DeltaDiscoveryRequest) -> Request:
    error = ""
    if message.HasField("error_detail"):
        error = message.error_detail.message or f"rejected with code {message.error_detail.code}"
    return Request(
        message.type_url,
        tuple(message.resource_names_subscribe),
        tuple(message.resource_names_unsubscribe),
        dict(message.initial_resource_versions),
        message.response_nonce,
        error,
    )


def _frame(response: Response) -> bytes:
    """Put *response* on the wire: its resources are serialized already, and stay as they are."""
    rest = DeltaDiscoveryResponse(
        type_url=response.kind, nonce=response.nonce, removed_resources=response.removed
    )
    parts = [rest.SerializeToString()]
    for resource in response.resources:
        parts += (_RESOURCES_TAG, _varint(len(resource.body)), resource.body)
    return b"".join(parts)


# Field 2 of DeltaDiscoveryResponse, of a length that follows.
_RESOURCES_TAG: Final = bytes([2 << 3 | 2])


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _log(level: int, event: str, **fields: object) -> None:
    log.log(level, event, extra={"fields": fields})
