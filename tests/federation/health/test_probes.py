"""What one check finds, at endpoints of every kind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from clusters.health import CheckKind, HealthCheck, Verdict
from federation.health.probes import ask

HERE = "127.0.0.1"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def endpoint(handler: Handler, address: str = HERE) -> AsyncIterator[int]:
    """An endpoint that does as *handler* says; gives its port."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(closing, address, 0) as server:
        yield server.sockets[0].getsockname()[1]


def answering(text: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()

    return handler


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(-1)


def check(kind: CheckKind, port: int, *, timeout: float = 5.0, service: str = "") -> HealthCheck:
    return HealthCheck(kind, port, "/healthz?deep=1", service, timeout=timeout)


def unused_port() -> int:
    with socket.socket() as free:
        free.bind((HERE, 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("address", [HERE, "::1"])
async def test_who_takes_a_connection_is_ready_by_tcp(address: str) -> None:
    async with endpoint(hanging, address) as port:
        assert await ask(address, check(CheckKind.TCP, port)) == Verdict(True)


@pytest.mark.parametrize("kind", [CheckKind.TCP, CheckKind.HTTP])
async def test_where_nobody_listens_the_reason_is_the_systems(kind: CheckKind) -> None:
    assert await ask(HERE, check(kind, unused_port())) == Verdict(False, "connection refused")


@pytest.mark.parametrize("kind", [CheckKind.HTTP, CheckKind.GRPC])
async def test_who_takes_a_connection_and_says_nothing_is_not_waited_for(kind: CheckKind) -> None:
    async with endpoint(hanging) as port:
        verdict = await ask(HERE, check(kind, port, timeout=0.2))
    assert verdict == Verdict(False, "no answer within 0.2 s")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Verdict(True)),
        (b"HTTP/1.0 204 No Content\r\n\r\n", Verdict(True)),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Verdict(True)),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", Verdict(False, "answered 500")),
        (b"HTTP/1.1 404\r\n\r\n", Verdict(False, "answered 404")),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", Verdict(False, "does not speak HTTP/1.1")),
        (b"SSH-2.0-OpenSSH\r\n", Verdict(False, "does not speak HTTP/1.1")),
        (b"x" * 10_000, Verdict(False, "does not speak HTTP/1.1")),
        (b"", Verdict(False, "closed the connection without an answer")),
    ],
)
async def test_by_http_the_status_counts(answer: bytes, verdict: Verdict) -> None:
    async with endpoint(answering(answer)) as port:
        assert await ask(HERE, check(CheckKind.HTTP, port)) == verdict


async def test_a_get_of_the_path_is_what_an_http_endpoint_is_asked() -> None:
    heard: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))

    async with endpoint(handler, "::1") as port:
        await ask("::1", check(CheckKind.HTTP, port))
    assert heard[0].splitlines()[:2] == [b"GET /healthz?deep=1 HTTP/1.1", f"Host: [::1]:{port}".encode()]


@asynccontextmanager
async def health_server(status: bytes, known: bytes = b"", address: str = HERE) -> AsyncIterator[int]:
    """A gRPC server whose `grpc.health.v1.Health` says *status* of the service *known*, as bytes."""

    async def say(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        if request[2:] != known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return status

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Check": grpc.unary_unary_rpc_method_handler(say)
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),)
    )
    port = server.add_insecure_port(f"[{address}]:0" if ":" in address else f"{address}:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (b"\x08\x01", Verdict(True)),
        (b"\x08\x02", Verdict(False, "NOT_SERVING")),
        (b"", Verdict(False, "UNKNOWN")),
        (b"\x08\x09", Verdict(False, "answered with something else than a HealthCheckResponse")),
        (b"hello", Verdict(False, "answered with something else than a HealthCheckResponse")),
    ],
)
async def test_by_grpc_only_serving_is_ready(status: bytes, verdict: Verdict) -> None:
    async with health_server(status) as port:
        assert await ask(HERE, check(CheckKind.GRPC, port)) == verdict


@pytest.mark.parametrize("address", [HERE, "::1"])
async def test_by_grpc_one_service_of_a_server_can_be_asked_about(address: str) -> None:
    async with health_server(b"\x08\x01", b"shop.Catalog", address) as port:
        assert await ask(address, check(CheckKind.GRPC, port, service="shop.Catalog")) == Verdict(True)
        other = await ask(address, check(CheckKind.GRPC, port, service="shop.Cart"))
    assert other == Verdict(False, "does not know the service 'shop.Cart'")


async def test_a_grpc_server_without_the_health_service_says_so() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port(f"{HERE}:0")
    await server.start()
    assert await ask(HERE, check(CheckKind.GRPC, port)) == Verdict(
        False, "does not have grpc.health.v1.Health"
    )
    await server.stop(None)


async def test_where_no_grpc_server_listens_it_is_down() -> None:
    verdict = await ask(HERE, check(CheckKind.GRPC, unused_port()))
    assert verdict is not None
    assert not verdict.ready
    assert verdict.reason.startswith("UNAVAILABLE: ")
