"""The SPIFFE Workload API itself: one gRPC service for the processes of this machine.

Who calls is told by the door through which the connection came; what it is given is `identities`' to say.
Each stream has everything at once, and everything again when something of it changes.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import grpc
import grpc.aio

from clusters.attestation import Process
from clusters.latest import Latest
from federation.errors import JwtKeyMissing, NoIdentity, RequestRefused, UnreadableRecord
from federation.workload.door import Door
from federation.workload.identities import Identities
from federation.workload.tokens import Tokens
from gateway.errors import CannotListen
from gateway.rpc import KEEPALIVE, Context, Outlet
from pki.errors import JwtRefused

SERVICE: Final = "SpiffeWorkloadAPI"
TICK: Final = 5.0
"""Seconds between two looks at what is due, at most."""
_SHORTEST: Final = 0.2

# A request that a page in somebody's browser can be made to send does not carry this.
_HEADER: Final = ("workload.spiffe.io", "true")
_OPTIONS: Final = (
    *KEEPALIVE,
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.max_concurrent_streams", 32),
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
)

Answer = Callable[[Process], bytes]


class WorkloadApi:
    """Serves the processes of this machine."""

    def __init__(self, identities: Identities, tokens: Tokens) -> None:
        self._identities = identities
        self._tokens = tokens
        self._changes = Latest(0)
        self._running: set[asyncio.Task[object] | None] = set()
        self.door = Door(identities.known)

    def follow(self) -> None:
        """Something that somebody was told may be different now."""
        self._changes.set(self._changes.value + 1)

    async def run(self) -> None:
        """See to it that what is due is renewed for those who have it."""
        while True:
            await asyncio.sleep(min(TICK, max(_SHORTEST, self._identities.due_in())))
            self.follow()

    @asynccontextmanager
    async def serving(self, path: Path, hidden_in: Path, *, replace: bool = False) -> AsyncIterator[None]:
        """Serve on a socket at *path* until the block is left; then no call is left running.

        *hidden_in* is a folder of our own. With *replace* another process may serve *path* still.
        """
        handler = grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "FetchX509SVID": self._stream(self._identities.x509_svids),
                "FetchX509Bundles": self._stream(self._identities.x509_bundles),
                "FetchJWTBundles": self._stream(self._tokens.jwt_bundles),
                "FetchJWTSVID": self._unary(self._tokens.jwt_svids),
                "ValidateJWTSVID": self._unary(self._tokens.validated),
            },
        )
        server = grpc.aio.server(handlers=[handler], options=_OPTIONS)
        inner = _listen(server, hidden_in)
        try:
            await server.start()
            async with self.door.open(path, Path(f"/proc/self/fd/{inner}"), replace=replace):
                yield
        finally:
            await server.stop(grace=None)
            os.close(inner)
            if tasks := [task for task in self._running if task is not None]:
                await asyncio.wait(tasks)

    def _stream(self, answer: Answer) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A method that tells *answer* at once, and whenever it is another."""

        async def converse(_request: bytes, context: Context) -> None:
            process = await self._admitted(context)
            outlet, told = Outlet(context), b""
            async for _ in self._changes:
                body = await _allowed(context, lambda: answer(process))
                if body != told:
                    await outlet.send(body)
                    told = body

        return grpc.unary_stream_rpc_method_handler(self._tracked(converse))

    def _unary(self, answer: Callable[[bytes, Process], bytes]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A method that is asked, and answers."""

        async def converse(request: bytes, context: Context) -> bytes:
            process = await self._admitted(context)
            return await _allowed(context, lambda: answer(request, process))

        return grpc.unary_unary_rpc_method_handler(converse)

    def _tracked(
        self, converse: Callable[[bytes, Context], Awaitable[None]]
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def tracked(request: bytes, context: Context) -> None:
            task = asyncio.current_task()
            self._running.add(task)
            try:
                await converse(request, context)
            finally:
                self._running.discard(task)

        return tracked

    async def _admitted(self, context: Context) -> Process:
        """Who calls; ends the call of whom the specification turns away."""
        key, value = _HEADER
        if [v for k, v in context.invocation_metadata() or () if k == key] != [value]:
            reason = f"the request does not carry the metadata {key}: {value}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
        process = self.door.process(context.peer())
        if process is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is about to end")
        return process


def _listen(server: grpc.aio.Server, hidden_in: Path) -> int:
    """Have *server* listen where only this process can connect: on a socket that has no name any more.

    The open file that is given leads to it.
    """
    try:
        with TemporaryDirectory(dir=hidden_in, prefix=".") as hidden:
            path = Path(hidden) / "s"
            server.add_insecure_port(f"unix:{path}")
            return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, RuntimeError) as error:
        raise CannotListen(str(hidden_in), "its path is too long, or it cannot be written") from error


async def _allowed(context: Context, answer: Callable[[], bytes]) -> bytes:
    """What *answer* gives; ends the call of whom it has nothing for."""
    try:
        return answer()
    except NoIdentity as error:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
    except JwtKeyMissing as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    except (RequestRefused, UnreadableRecord, JwtRefused) as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
