"""What every HTTP face shares: answers in JSON, errors in one form, sockets that only their owner can open.

An error leaves as `{"error": {"code", "message", "hint"}}` with a fitting status. What we did not
foresee leaves as 500 without detail, and is logged.
"""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

import msgspec
from aiohttp import web

from clusters.decoding import UNDECODABLE
from clusters.errors import ClusterError
from federation.errors import Exit, FederationError
from federation.log import Log
from federation.own_address import joined
from gateway.errors import CannotListen
from gateway.rpc import bound_in_place, remove_own
from pki.errors import PkiError

log = Log(__name__)
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 64 * 1024
# Anybody may knock where newcomers join, so nobody may stay there or fill the place.
MAX_GUESTS = 200
HANDSHAKE_SECONDS = 5.0
STAY_SECONDS = 30.0
_CREDENTIALS = struct.Struct("3i")  # of SO_PEERCRED: process, user, group

_STATUS: Mapping[Exit, int] = {
    Exit.USAGE: 400,
    Exit.FORBIDDEN: 403,
    Exit.NOT_FOUND: 404,
    Exit.CONFLICT: 409,
    Exit.UNREACHABLE: 503,
    Exit.TIMED_OUT: 504,
}


class ApiError(FederationError):
    """An answer other than 200: *code* for programs, *message* for people."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.hint = hint


def json_response(body: object, status: int = 200) -> web.Response:
    """*body* as JSON; dataclasses, enums and dates are understood."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


async def body_as(request: web.Request, kind: type[T]) -> T:
    """The request's JSON body as a *kind*, or a 400 that says where it is wrong."""
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except UNDECODABLE as error:
        raise ApiError(400, "bad-request", f"the request's body: {error}") from error


@web.middleware
async def errors_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into the one form of an error answer."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, error.reason.lower().replace(" ", "-"), error.reason)
    except ApiError as error:
        return _error(error.status, error.code, str(error), error.hint)
    except FederationError as error:
        status = _STATUS.get(error.exit_code, 500)
        if status >= 500:
            log.error("request failed", path=request.path, reason=str(error))
        return _error(status, error.code, str(error), error.hint)
    except (ClusterError, PkiError) as error:
        return _error(400, "invalid", str(error), error.hint)
    except ConnectionError:
        raise
    except Exception:
        log.exception("request failed", path=request.path)
        return _error(500, "internal", "the request failed", "the log of this process says why")


def _error(status: int, code: str, message: str, hint: str = "") -> web.Response:
    return json_response({"error": {"code": code, "message": message, "hint": hint}}, status)


def application(max_body: int = MAX_BODY) -> web.Application:
    """An application that answers errors in the one form and takes bodies of *max_body* bytes at most."""
    return web.Application(middlewares=[errors_as_answers], client_max_size=max_body)


@asynccontextmanager
async def served_on_socket(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve *app* on a unix socket that only this user can open; one that was left behind is replaced."""
    runner = await _runner(app)
    listener = socket.socket(socket.AF_UNIX)
    try:
        identity = bound_in_place(listener, path)
    except OSError as error:
        listener.close()
        await runner.cleanup()
        raise CannotListen(str(path), f"{error}; a shorter or another --state helps") from error
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
        remove_own(path, identity)


class _Guest(asyncio.Protocol):
    """One connection to *host*: one too many, or one that stays for too long, is ended."""

    def __init__(self, host: asyncio.Protocol, guests: set["_Guest"], stay: float) -> None:
        self._host = host
        self._guests = guests
        self._stay = stay
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without saying so.
        stream = cast("asyncio.Transport", transport)
        self._host.connection_made(stream)
        # Not closed but aborted: TLS would wait for a goodbye from one who says nothing.
        if len(self._guests) >= MAX_GUESTS:
            stream.abort()
            return
        self._guests.add(self)
        self._end = asyncio.get_running_loop().call_later(self._stay, stream.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guests.discard(self)
        if self._end is not None:
            self._end.cancel()
        self._host.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._host.data_received(data)

    def eof_received(self) -> bool | None:
        return self._host.eof_received()

    def pause_writing(self) -> None:
        self._host.pause_writing()

    def resume_writing(self) -> None:
        self._host.resume_writing()


@asynccontextmanager
async def served_on_tls(
    app: web.Application, host: str, port: int, context: ssl.SSLContext, *, stay: float = STAY_SECONDS
) -> AsyncIterator[int]:
    """Serve *app* over TLS; gives the port. `::` takes calls of both families, as it does in gRPC.

    A connection lasts *stay* seconds at most.
    """
    runner = await _runner(app)
    make, guests = runner.server, set[_Guest]()
    if make is None:
        raise RuntimeError("the runner has no server")
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Guest(make(), guests, stay),
            None if host == "::" else host,
            port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )
    except OSError as error:
        await runner.cleanup()
        raise CannotListen(joined(host, port), error.strerror or str(error)) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()


async def _runner(app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    return runner


async def off_the_loop(function: Callable[[], T]) -> T:
    """Run what takes the processor for long (a key derivation) beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, function)


def tls_context(chain: Path, key: Path, clients: str = "") -> ssl.SSLContext:
    """TLS 1.3 with the certificate in *chain*; a client may show one under the roots *clients*, PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(chain, key)
    if clients:
        context.load_verify_locations(cadata=clients)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def switching(choose: Callable[[str | None], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS 1.3 by whatever context *choose* gives at each handshake, for the name that the client asks for.

    The contexts must be of `tls_context`, with clients: whether a client is asked for a certificate is
    settled before its name is known.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL

    def switch(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        tls.context = choose(name)

    context.sni_callback = switch
    return context


def tls_of(request: web.Request) -> ssl.SSLContext | None:
    """The context by which the connection of *request* was made."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport else None
    return tls.context if tls else None


def actor_of(request: web.Request) -> str:
    """Who asks, for the audit record: the process behind a unix socket, else an address."""
    if request.transport is None:
        return ""
    connection = request.transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return request.remote or ""
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        pid, uid, _ = _CREDENTIALS.unpack(
            same.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
    return f"uid={uid} pid={pid}"


def client_certificate(request: web.Request) -> str:
    """The certificate that the client showed and TLS verified, PEM; empty if it showed none."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport else None
    der = tls.getpeercert(binary_form=True) if tls else None
    return ssl.DER_cert_to_PEM_cert(der) if der else ""
