"""The hub's end of the sync stream: lets agents in and keeps a link with each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import grpc

from federation.errors import FederationError, Superseded, SyncRefused
from federation.log import Log
from federation.sync import frames, records
from federation.sync.exchange import Session, exchange
from federation.sync.frames import Bye, Frame, Hello, Welcome
from federation.sync.link import Link
from federation.sync.turns import Turns
from gateway.rpc import Context, Listener, Outlet, Peer, peer_of, serving
from gateway.subscription import Subscription

SERVICE: Final = "fedgate.sync.v1.Sync"
METHOD: Final = "Connect"
HELLO_DEADLINE: Final = 5.0
_BYE_DEADLINE: Final = 1.0

Admit = Callable[[Peer, Hello], Awaitable[None]]
SessionFor = Callable[[Peer, Hello], AbstractAsyncContextManager[Session]]

log = Log(__name__)


async def _anybody(_peer: Peer, _hello: Hello) -> None:
    """Leave it to the session to refuse."""


class SyncServer:
    """Lets in those agents for which *session_for* opens a session, one connection each.

    *session_for* gives a context that lasts as long as the connection, or raises SyncRefused when it is
    entered; it must check that `Peer.spiffe_id` is the agent's of the cluster in the hello. An agent that
    connects again ends its former connection first: that one is dead, even if nobody has told us yet.
    *admit* raises SyncRefused for who would not get a session, before a connection is ended for it. The
    connections do what is much in *turns*.
    """

    def __init__(
        self,
        session_for: SessionFor,
        turns: Turns,
        *,
        admit: Admit = _anybody,
        version: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        hello_deadline: float = HELLO_DEADLINE,
    ) -> None:
        self._session_for = session_for
        self._admit = admit
        self._version = version
        self._now = now
        self._hello_deadline = hello_deadline
        self._turns = turns
        self._connections: dict[str, asyncio.Task[object]] = {}
        self._endings: dict[asyncio.Task[object], SyncRefused] = {}

    def serving(
        self, listeners: Sequence[Listener], beside: Sequence[grpc.GenericRpcHandler] = ()
    ) -> AbstractAsyncContextManager[tuple[int, ...]]:
        """Serve on *listeners* until the block is left, with other services *beside*.

        Gives the port of each, 0 for a unix socket.
        """
        return serving(SERVICE, METHOD, self._connect, listeners, beside)

    def end(self, who: str, why: SyncRefused) -> None:
        """Hang up on the agent whose SPIFFE ID is *who*, if it is connected, and tell it *why*."""
        task = self._connections.get(who)
        if task is not None and task not in self._endings:
            self._endings[task] = why
            task.cancel()

    async def _connect(self, messages: AsyncIterator[bytes], context: Context) -> None:
        """Serve one connection; whoever is refused hears why before it ends."""
        await self._turns.take()
        peer = peer_of(context)
        incoming = frames.decoded(messages, self._turns)
        outlet = Outlet(context)

        async def send(frame: Frame) -> None:
            await outlet.send(frames.encode(frame))

        try:
            await self._converse(peer, incoming, send)
        except SyncRefused as refusal:
            log.warning("agent refused", peer=peer.address, id=str(peer.spiffe_id), reason=refusal.reason)
            await _part(outlet, Bye(refusal.code, refusal.reason, refusal.hint))
        except FederationError as error:
            log.error("sync broken off", peer=peer.address, id=str(peer.spiffe_id), reason=str(error))
            await _part(outlet, Bye("unavailable", "the hub cannot serve this now", "its log says why"))
        finally:
            await outlet.settle(_BYE_DEADLINE)

    async def _converse(
        self, peer: Peer, incoming: AsyncIterator[Frame], send: Callable[[Frame], Awaitable[None]]
    ) -> None:
        hello = await self._hello(incoming)
        frames.check_versions("agent", hello)
        await self._admit(peer, hello)
        async with self._only_connection(peer), self._session_for(peer, hello) as session:
            log.info("agent connected", cluster=hello.cluster, peer=peer.address, version=hello.version)
            await send(Welcome(self._now(), self._version, digests=True))
            takes = [Subscription(kind, session.held.get(kind)) for kind in records.FROM_AGENTS]
            try:
                link = Link(session.catalogue, records.FROM_HUB, takes)
                await exchange(link, session, incoming, send, self._turns)
            finally:
                log.info("agent disconnected", cluster=hello.cluster, peer=peer.address)

    async def _hello(self, incoming: AsyncIterator[Frame]) -> Hello:
        try:
            async with asyncio.timeout(self._hello_deadline):
                first = await anext(incoming, None)
        except TimeoutError as error:
            raise SyncRefused("no-hello", f"no hello within {self._hello_deadline:g} s") from error
        if not isinstance(first, Hello):
            raise SyncRefused("no-hello", "the first message is not a hello")
        return first

    @asynccontextmanager
    async def _only_connection(self, peer: Peer) -> AsyncIterator[None]:
        """End the former connection of the same peer, and be its connection until the block is left."""
        who = str(peer.spiffe_id or peer.address)
        task = _current_task()
        while (former := self._connections.get(who)) is not None:
            self.end(who, Superseded())
            await asyncio.wait([former])
        self._connections[who] = task
        try:
            yield
        except asyncio.CancelledError:
            if task in self._endings:
                raise self._endings[task] from None
            raise
        finally:
            del self._connections[who]
            self._endings.pop(task, None)


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("not in a task")
    return task


async def _part(outlet: Outlet, bye: Bye) -> None:
    """Say why we hang up, to whoever still listens."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_BYE_DEADLINE):
            await outlet.send(frames.encode(bye))
