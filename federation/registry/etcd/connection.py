"""Calls to one etcd of several members: to one of them until it fails, then to the next.

Whatever is called may be called again, so that a call goes on through the death of a member or an election.
No call waits for ever: a member that is silent is left as one that is dead.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import grpc
import grpc.aio
from etcd3.etcdrpc import rpc_pb2 as rpc
from google.protobuf.message import Message

from federation.errors import StoreClosed, StoreError, StoreUnreachable, StoreUnusable
from federation.log import Log
from federation.registry.etcd.location import Location
from pki import keystore

log = Log(__name__)

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

PATIENCE: Final = 15.0
"""Seconds in which some member has to answer a call: an election takes one or two."""

_ATTEMPT: Final = 3.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0

# etcd hangs up on who pings more often than every 5 s.
_OPTIONS: Final = (
    # A watch that catches up is told of a thousand revisions at once; etcd bounds what it takes itself.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each connection is to be a new one, with the certificate that is on the disk now.
    ("grpc.use_local_subchannel_pool", 1),
)

_GONE_ELSEWHERE: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED,
    # A member that is told to stop ends calls over TLS without a status, which gRPC makes one of these.
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
}
_TOKEN_ENDED: Final = ("invalid auth token", "revision of auth store is old", "user name is empty")


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, A]):
    """A call of etcd's API: its path, and what goes and comes; *streamed* if it is a stream of such."""

    path: str
    asks: type[Q]
    answers: type[A]
    streamed: bool = False


RANGE: Final = Method("/etcdserverpb.KV/Range", rpc.RangeRequest, rpc.RangeResponse)
AUTHENTICATE: Final = Method(
    "/etcdserverpb.Auth/Authenticate", rpc.AuthenticateRequest, rpc.AuthenticateResponse
)


class Refused(StoreError):
    """etcd has answered a call with an error that another member would give too."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"etcd: {details}")
        self.status = code
        self.details = details


class Line:
    """A channel to one member, closed when it is left and the last call on it has ended."""

    def __init__(self, location: Location, endpoint: str) -> None:
        self.endpoint = endpoint
        self.channel = _channel(location, endpoint)
        self.token = ""
        self._calls = 0
        self._left = False

    @asynccontextmanager
    async def used(self) -> AsyncIterator[grpc.aio.Channel]:
        """The channel, open for as long as the block lasts."""
        self._calls += 1
        try:
            yield self.channel
        finally:
            self._calls -= 1
            await self._close_if_done()

    async def leave(self) -> None:
        """Have no more calls on it. Those that are under way are left to end: they would look cancelled."""
        self._left = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._left and not self._calls:
            await self.channel.close()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Whom each call is from; and that a member without a leader should say so."""
        return (("hasleader", "true"), *((("token", self.token),) if self.token else ()))


class Connection:
    """The members of one etcd, of which one is in use."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._place = 0
        self._line: Line | None = None
        self._turning = asyncio.Lock()
        self._cluster, self._reached = 0, 0
        self.closed = asyncio.Event()

    async def call(self, method: Method[Q, A], request: Q, patience: float = PATIENCE) -> A:
        """Have *request* answered by some member.

        It may be carried out more than once. Refused is what all members would say, StoreUnreachable that
        nobody has answered in time, StoreUnusable that another etcd is in the place of the one before.
        """
        deadline, pause, reason = time.monotonic() + patience, _FIRST_PAUSE, "no time left"
        while (left := deadline - time.monotonic()) > 0:
            line, reached = None, self._reached
            try:
                line = await self.line()
                with self.closing_told():
                    answer = await _call(line, method, request, min(left, _ATTEMPT))
                if isinstance(answer, rpc.RangeResponse | rpc.TxnResponse):
                    self._recognize(answer.header, reached)
                return answer
            except grpc.aio.AioRpcError as error:
                reason = said(error)
                self.refuse_final(error)
            if line is not None:
                await self.turn_from(line)
            await self.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise StoreUnreachable(self._location.text, reason)

    def _recognize(self, header: rpc.ResponseHeader, reached: int) -> None:
        """Raise StoreUnusable if *header* is not of the etcd that was at revision *reached* before the call.

        An empty or restored one at the same address may have the same ID, but begins anew or goes back.
        """
        if (self._cluster or header.cluster_id) != header.cluster_id or header.revision < reached:
            reason = f"another etcd is in its place: at revision {header.revision}, and it was at {reached}"
            raise StoreUnusable(self._location.text, reason, "start the hub again: it reads everything anew")
        self._cluster, self._reached = header.cluster_id, max(self._reached, header.revision)

    async def line(self) -> Line:
        """The line in use, entered with the user's name and password if there is one; raises AioRpcError."""
        async with self._turning:
            if self.closed.is_set():
                raise StoreClosed
            if self._line is None:
                endpoints = self._location.endpoints
                line = Line(self._location, endpoints[self._place % len(endpoints)])
                try:
                    line.token = await self._enter(line)
                except BaseException:
                    self._place += 1
                    await line.leave()
                    raise
                self._line = line
            return self._line

    async def turn_from(self, line: Line) -> None:
        """Use the next member instead of the one at the end of *line*, if nobody has turned from it yet."""
        async with self._turning:
            if self._line is line:
                self._line = None
                self._place += 1
                await line.leave()

    async def close(self) -> None:
        """End all that waits."""
        self.closed.set()
        if (line := self._line) is not None:
            self._line = None
            await line.channel.close()

    async def _enter(self, line: Line) -> str:
        user, file = self._location.user, self._location.password_file
        if file is None:
            return ""
        request = rpc.AuthenticateRequest(name=user, password=keystore.read(file).decode().strip())
        answer = await _call(line, AUTHENTICATE, request, _ATTEMPT)
        return answer.token

    @contextmanager
    def closing_told(self) -> Iterator[None]:
        """Raise StoreClosed for a call that `close` has cut: gRPC takes it as if we had been cancelled."""
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.closed.is_set() and not (task and task.cancelling()):
                raise StoreClosed from None
            raise

    def refuse_final(self, error: grpc.aio.AioRpcError) -> None:
        """Raise what *error* means, if another try, elsewhere or with a new token, would end the same."""
        if self.closed.is_set():
            raise StoreClosed from error
        details = error.details() or ""
        ended = bool(self._location.user) and any(words in details for words in _TOKEN_ENDED)
        if not (error.code() in _GONE_ELSEWHERE or "too many requests" in details or ended):
            raise Refused(error.code(), details) from error

    async def pause(self, seconds: float) -> None:
        """Wait before the next try; raises StoreClosed when there is none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        if self.closed.is_set():
            raise StoreClosed


async def _call(line: Line, method: Method[Q, A], request: Q, seconds: float) -> A:
    async with line.used() as channel:
        if method.streamed:
            return await _one_of_a_stream(channel, line, method, request, seconds)
        call: grpc.aio.UnaryUnaryMultiCallable[Q, A] = channel.unary_unary(
            method.path, method.asks.SerializeToString, method.answers.FromString
        )
        return await call(request, timeout=seconds, metadata=line.metadata)


async def _one_of_a_stream(
    channel: grpc.aio.Channel, line: Line, method: Method[Q, A], request: Q, seconds: float
) -> A:
    """The first answer of a stream that is asked once."""
    opened: grpc.aio.StreamStreamMultiCallable[Q, A] = channel.stream_stream(
        method.path, method.asks.SerializeToString, method.answers.FromString
    )
    stream = opened(timeout=seconds, metadata=line.metadata)
    try:
        await stream.write(request)
        answer = await stream.read()
    finally:
        stream.cancel()
    if not isinstance(answer, method.answers):
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "it has ended the stream")
    return answer


def _channel(location: Location, endpoint: str) -> grpc.aio.Channel:
    if location.ca_file is None:
        return grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
    cert = location.cert_file.read_bytes() if location.cert_file else None
    key = keystore.read(location.key_file) if location.key_file else None
    credentials = grpc.ssl_channel_credentials(location.ca_file.read_bytes(), key, cert)
    return grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)


def said(error: grpc.aio.AioRpcError) -> str:
    """What *error* says, in a line."""
    return (error.details() or error.code().name).splitlines()[0][:200]
