"""The demo's servers: ordinary programs that know nothing of fedgate, one process each.

    python -m federation.demo.samples http --name catalog@cloud --listen 10.0.0.21:8080

- `http` speaks HTTP/1.1, HTTP/2 without TLS and WebSocket on one port (Hypercorn, any ASGI server would do),
- `grpc` has one unary and one streaming method (grpcio),
- `tcp` speaks first, then repeats each line it is sent, and says good-bye when its caller has finished.

Each answers with a line of JSON, an `Answer`: who it is, which protocol it was asked in, and the address of
the peer it saw. It prints `ready` once it listens.
"""

import argparse
import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

from federation.settings import host_port

GRPC_SERVICE = "fedgate.demo.Sample"
READY = "ready"

Serve = Callable[["Sample", asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sample service says of itself, and of whom it sees."""

    answered_by: str
    protocol: str
    peer: str

    @classmethod
    def parse(cls, text: str | bytes) -> "Answer":
        """Undo `encode`; raises ValueError for anything else."""
        said = json.loads(text)
        if not isinstance(said, dict) or not {"answered_by", "protocol", "peer"} <= said.keys():
            raise ValueError(f"not an answer of a sample service: {text!r}")
        return cls(str(said["answered_by"]), str(said["protocol"]), str(said["peer"]))

    def encode(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample service: its name as `SERVICE@CLUSTER`, and where it listens."""

    name: str
    addresses: tuple[str, ...]

    def answer(self, protocol: str, peer: str) -> bytes:
        """What it says to *peer*."""
        return Answer(self.name, protocol, peer).encode()

    def sockets(self) -> list[socket.socket]:
        """A listening socket for each address."""
        return [
            socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
            )
            for host, port in map(host_port, self.addresses)
        ]


async def serve_http(sample: Sample, stop: asyncio.Event) -> None:
    """HTTP/1.1, h2c and WebSocket, told apart by how each caller begins."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            return
        host, port = scope["client"] or ("", 0)
        if scope["type"] == "http":
            body = sample.answer(f"HTTP/{_version(scope['http_version'])}", _peer(host, port or 0))
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        greeting = sample.answer("WebSocket", _peer(host, port or 0)).decode()
        await send({"type": "websocket.send", "bytes": None, "text": greeting})
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] == "websocket.receive":
                await send({"type": "websocket.send", "bytes": event["bytes"], "text": event["text"]})

    config = Config()
    sockets = sample.sockets()
    config.bind = [f"fd://{listener.detach()}" for listener in sockets]
    config.loglevel = "WARNING"
    print(READY, flush=True)

    async def stopped() -> None:
        await stop.wait()

    await serve(app, config, shutdown_trigger=stopped)


async def serve_grpc(sample: Sample, stop: asyncio.Event) -> None:
    """`Ask` answers once; `Chat` answers first and then repeats each message."""
    import grpc

    async def ask(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return sample.answer("gRPC", _grpc_peer(context.peer()))

    async def chat(
        requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> AsyncIterator[bytes]:
        yield sample.answer("gRPC", _grpc_peer(context.peer()))
        async for request in requests:
            yield request

    server = grpc.aio.server()
    methods = {
        "Ask": grpc.unary_unary_rpc_method_handler(ask, bytes, bytes),
        "Chat": grpc.stream_stream_rpc_method_handler(chat, bytes, bytes),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(GRPC_SERVICE, methods),))
    for address in sample.addresses:
        server.add_insecure_port(address)
    await server.start()
    print(READY, flush=True)
    await stop.wait()
    await server.stop(grace=1)


async def serve_tcp(sample: Sample, stop: asyncio.Event) -> None:
    """Speak first, as databases and mail servers do; repeat lines; answer a half-close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        writer.write(sample.answer("TCP", _peer(host, port)))
        lines = 0
        try:
            async for line in reader:
                lines += 1
                writer.write(line)
                await writer.drain()
            writer.write(f"good-bye after {lines} lines\n".encode())
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    servers = [await asyncio.start_server(talk, sock=listener) for listener in sample.sockets()]
    print(READY, flush=True)
    await stop.wait()
    for server in servers:
        server.close()


SAMPLES: dict[str, Serve] = {"http": serve_http, "grpc": serve_grpc, "tcp": serve_tcp}


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m federation.demo.samples", description="A sample server.")
    parser.add_argument("kind", choices=SAMPLES)
    parser.add_argument("--name", required=True, help="who it says it is, SERVICE@CLUSTER")
    parser.add_argument("--listen", action="append", required=True, help="ADDRESS:PORT; may be repeated")
    said = parser.parse_args(argv)
    asyncio.run(_serve(SAMPLES[said.kind], Sample(said.name, tuple(said.listen))))


async def _serve(serve: Serve, sample: Sample) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(sample, stop)


def _version(version: str) -> str:
    """ASGI says `2` where we say `2`, and `1.1` where we say `1.1`; `2.0` is an old spelling."""
    return version.removesuffix(".0") if version.startswith("2") else version


def _peer(host: str, port: int) -> str:
    """`192.0.2.1:80` or `[2001:db8::1]:80`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _grpc_peer(peer: str) -> str:
    """gRPC's `ipv6:%5B::1%5D:80` as everybody else writes it."""
    return peer.partition(":")[2].replace("%5B", "[").replace("%5D", "]")


if __name__ == "__main__":
    main()
