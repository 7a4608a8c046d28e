"""Asking one endpoint once: a connection by TCP, a GET by HTTP/1.1, `grpc.health.v1.Health/Check` by gRPC."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import grpc.aio

from clusters.health import CheckKind, HealthCheck, Verdict

READY: Final = Verdict(True)

# What goes wrong on our own side says nothing of the endpoint.
_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
_LONGEST_LINE: Final = 4096
_LONGEST_REASON: Final = 120
_CHECK: Final = "/grpc.health.v1.Health/Check"
_STATUS: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
# A channel for each check: one that is kept waits longer and longer before it tries to connect again.
_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", _LONGEST_LINE),
)


async def ask(address: str, check: HealthCheck) -> Verdict | None:
    """Check the endpoint at *address*; None if it could not be asked, for want of something on our side."""
    try:
        async with asyncio.timeout(check.timeout):
            return await _ASK[check.kind](address, check)
    except TimeoutError:
        return Verdict(False, f"no answer within {check.timeout:g} s")
    except OSError as error:
        if error.errno in _OURS:
            return None
        return Verdict(False, os.strerror(error.errno).lower() if error.errno else str(error))


async def _tcp(address: str, check: HealthCheck) -> Verdict:
    _, writer = await asyncio.open_connection(address, check.port)
    writer.close()
    return READY


async def _http(address: str, check: HealthCheck) -> Verdict:
    """Read no more than the status: who has that has the verdict."""
    reader, writer = await asyncio.open_connection(address, check.port, limit=_LONGEST_LINE)
    host = f"[{address}]:{check.port}" if ":" in address else f"{address}:{check.port}"
    head = f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fedgate\r\nConnection: close\r\n\r\n"
    try:
        writer.write(head.encode())
        line = await reader.readline()
    except ValueError:
        return Verdict(False, "does not speak HTTP/1.1")
    finally:
        writer.close()
    version, _, rest = line.partition(b" ")
    status = rest[:3].decode("ascii", "replace")
    if not line:
        return Verdict(False, "closed the connection without an answer")
    if not version.startswith(b"HTTP/1.") or not status.isdigit():
        return Verdict(False, "does not speak HTTP/1.1")
    return READY if "200" <= status < "400" else Verdict(False, f"answered {status}")


async def _grpc(address: str, check: HealthCheck) -> Verdict:
    name = check.service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    target = f"ipv6:[{address}]:{check.port}" if ":" in address else f"ipv4:{address}:{check.port}"
    async with grpc.aio.insecure_channel(target, options=_OPTIONS) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_CHECK)
        try:
            return _said(await call(request))
        except grpc.aio.AioRpcError as error:
            return Verdict(False, _refusal(error, check))


def _said(reply: bytes) -> Verdict:
    """Read a HealthCheckResponse, whose one field is an enum; the first of its values is not sent."""
    number = 0 if not reply else reply[1] if reply[:1] == b"\x08" and len(reply) == 2 else len(_STATUS)
    if number >= len(_STATUS):
        return Verdict(False, "answered with something else than a HealthCheckResponse")
    return READY if _STATUS[number] == "SERVING" else Verdict(False, _STATUS[number])


def _refusal(error: grpc.aio.AioRpcError, check: HealthCheck) -> str:
    match error.code():
        case grpc.StatusCode.NOT_FOUND:
            return f"does not know the service {check.service!r}"
        case grpc.StatusCode.UNIMPLEMENTED:
            return "does not have grpc.health.v1.Health"
    return f"{error.code().name}: {error.details() or ''}"[:_LONGEST_REASON]


_ASK: Final[dict[CheckKind, Callable[[str, HealthCheck], Awaitable[Verdict]]]] = {
    CheckKind.TCP: _tcp,
    CheckKind.HTTP: _http,
    CheckKind.GRPC: _grpc,
}
