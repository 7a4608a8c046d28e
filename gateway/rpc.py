"""What our gRPC servers and clients have in common: where they listen, TLS that renews itself, who is there.

Messages cross as raw bytes: who reads them parses them, and who writes them has most of them ready.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import grpc
import grpc.aio
from cryptography import x509

from gateway.errors import CannotListen
from pki.bundle import spiffe_id_of
from pki.errors import PkiError
from pki.spiffe import SpiffeId

# A peer that went away without a word is noticed within the sum of the first two, 7 s. Without the third the
# second counts for nothing: gRPC would wait a minute for the answer to its ping.
KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 4_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)
# A client that comes back says the version of all that it holds in one message.
MESSAGE_SIZES: Final = (
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
)
_SERVER_OPTIONS: Final = (
    *KEEPALIVE,
    *MESSAGE_SIZES,
    ("grpc.so_reuseport", 0),
    # Who connects and says nothing is let go; gRPC itself would wait for two minutes.
    ("grpc.server_handshake_timeout_ms", 5_000),
)

# A file, whatever its name: device and inode.
Identity: TypeAlias = tuple[int, int]

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Converse = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What one side of mutual TLS shows, and whom it believes; PEM, its own certificate first."""

    chain: str
    key: str = field(repr=False)
    roots: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end. On a unix socket nobody shows a certificate: the file's mode is the guard."""

    address: str
    spiffe_id: SpiffeId | None = None
    chain: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A socket file that only its owner may use; with *replace* also one that another process serves."""

    path: Path
    replace: bool = False


@dataclass(frozen=True, slots=True)
class TlsListener:
    """`ADDRESS:PORT` for peers with a certificate under our roots; *material* is asked at each handshake."""

    address: str
    material: Callable[[], TlsMaterial]


Listener = UnixListener | TlsListener


@asynccontextmanager
async def serving(
    service: str,
    method: str,
    converse: Converse,
    listeners: Sequence[Listener],
    beside: Sequence[grpc.GenericRpcHandler] = (),
) -> AsyncIterator[tuple[int, ...]]:
    """Have *converse* serve each stream of *method* until the block is left; then none is left running.

    *beside* it are other services for the same peers. Gives the port of each listener, 0 for a unix socket.
    """
    running: set[asyncio.Task[object] | None] = set()

    async def tracked(messages: AsyncIterator[bytes], context: Context) -> None:
        task = asyncio.current_task()
        running.add(task)
        try:
            await converse(messages, context)
        finally:
            running.discard(task)

    stream: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(tracked)
    handler = grpc.method_handlers_generic_handler(service, {method: stream})
    server = grpc.aio.server(handlers=[handler, *beside], options=_SERVER_OPTIONS)
    ports = []
    sockets: list[tuple[Path, Identity]] = []
    try:
        for listener in listeners:
            if isinstance(listener, UnixListener):
                sockets.append((listener.path, _listen_unix(server, listener)))
                ports.append(0)
            else:
                ports.append(_listen_tls(server, listener))
        await server.start()
        yield tuple(ports)
    finally:
        await server.stop(grace=None)
        # Streams are cancelled by now, but may have some tidying to do.
        if tasks := [task for task in running if task is not None]:
            await asyncio.wait(tasks)
        for path, identity in sockets:
            remove_own(path, identity)


@asynccontextmanager
async def answering(
    handler: grpc.GenericRpcHandler, listener: UnixListener, *, at_once: int
) -> AsyncIterator[None]:
    """Have *handler* answer unary calls on *listener* until the block is left, so many of them at once."""
    server = grpc.aio.server(handlers=[handler], options=_SERVER_OPTIONS, maximum_concurrent_rpcs=at_once)
    identity = _listen_unix(server, listener)
    try:
        await server.start()
        yield
    finally:
        await server.stop(grace=None)
        remove_own(listener.path, identity)


class Outlet:
    """Where a call's messages go out, one after the other.

    gRPC takes no message, and no end of the call, before it is done with the message before: cancelled or
    not. A call that is ended meanwhile would have no end for the other side, for ever.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._writing: asyncio.Future[None] | None = None

    async def send(self, message: bytes) -> None:
        """Write *message*; if this is cancelled, it goes out all the same."""
        await self.settle(None)
        self._writing = asyncio.ensure_future(self._context.write(message))
        try:
            await asyncio.shield(self._writing)
        finally:
            self._forget()

    async def settle(self, seconds: float | None) -> None:
        """Let what is being written go out, but do not wait for longer than *seconds*."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=seconds)
            self._forget()

    def _forget(self) -> None:
        # Its error, if it has one, leads back to here.
        if self._writing is not None and self._writing.done():
            self._writing = None


def channel_credentials(material: TlsMaterial) -> grpc.ChannelCredentials:
    """The client's side of mutual TLS."""
    return grpc.ssl_channel_credentials(
        material.roots.encode(), material.key.encode(), material.chain.encode()
    )


def peer_of(context: Context) -> Peer:
    """Who calls; without a SPIFFE ID if the certificate carries none, or more than one."""
    shown = context.auth_context()
    # A server's chain begins behind the peer's own certificate.
    chain = b"".join((*shown.get("x509_pem_cert", ()), *shown.get("x509_pem_cert_chain", ())))
    spiffe_id = None
    if chain:
        with suppress(PkiError, ValueError):
            spiffe_id = spiffe_id_of(x509.load_pem_x509_certificate(chain))
    return Peer(context.peer(), spiffe_id, chain.decode())


def _listen_tls(server: grpc.aio.Server, listener: TlsListener) -> int:
    shown = Shown(listener.material)
    credentials = grpc.dynamic_ssl_server_credentials(
        shown.first(),
        shown.renewed,  # type: ignore[arg-type]  # by gRPC's documentation, None is "no change"
        require_client_authentication=True,
    )
    try:
        return server.add_secure_port(listener.address, credentials)
    except RuntimeError as error:
        raise CannotListen(listener.address, "the address is in use, or not of this host") from error


class Shown:
    """What a TLS server shows, given to gRPC anew only when it is new.

    gRPC asks at each handshake, makes a new TLS context of whatever it is given, and frees the one before
    while another handshake may be about to take it. Given something each time, a server to which a few
    peers come at once dies, or refuses everybody from then on.
    """

    def __init__(self, material: Callable[[], TlsMaterial]) -> None:
        self._material = material
        self._given = material()

    def first(self) -> grpc.ServerCertificateConfiguration:
        """What to begin with."""
        return _configuration(self._given)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What to show from now on; None if that is what is shown already."""
        now = self._material()
        if now == self._given:
            return None
        self._given = now
        return _configuration(now)


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key.encode(), material.chain.encode())], material.roots.encode()
    )


def bound_in_place(listener: socket.socket, path: Path, mode: int = 0o600) -> Identity:
    """Bind *listener* at *path*, in place of whatever is there; says what to remove.

    It is for this user alone unless *mode* says otherwise.
    """
    with TemporaryDirectory(dir=path.parent, prefix=".") as hidden:
        bound = Path(hidden) / "s"
        listener.bind(str(bound))
        bound.chmod(mode)
        return _moved(bound, path)


def remove_own(path: Path, identity: Identity) -> None:
    """Remove the socket at *path*, unless another process has put its own there meanwhile."""
    with suppress(FileNotFoundError):
        status = path.stat()
        if (status.st_dev, status.st_ino) == identity:
            path.unlink()


def _moved(bound: Path, path: Path) -> Identity:
    status = bound.stat()
    bound.rename(path)
    return status.st_dev, status.st_ino


def _listen_unix(server: grpc.aio.Server, listener: UnixListener) -> Identity:
    """Bind inside a folder that only we can enter and move the socket out when its mode is right.

    So nobody can connect before the mode is set, and what a crashed process left is replaced at once.
    """
    path = listener.path
    if not listener.replace and answers(path):
        raise CannotListen(str(path), "another process serves it")
    try:
        with TemporaryDirectory(dir=path.parent, prefix=".") as hidden:
            bound = Path(hidden) / "s"
            server.add_insecure_port(f"unix:{bound}")
            bound.chmod(0o600)
            return _moved(bound, path)
    except OSError as error:
        raise CannotListen(str(path), error.strerror or str(error)) from error
    except RuntimeError as error:
        raise CannotListen(str(path), "its path is too long, or its folder cannot be written") from error


def answers(path: Path) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
