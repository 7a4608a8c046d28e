"""The demo's callers: what an ordinary program does with a name and a port, one call each.

    python -m federation.demo.clients grpc catalog.shop.svc.clusterset.local 9090

Each uses the library that people use for that protocol, none knows of fedgate, and each does more than say
hello: it keeps the connection and uses it again. It prints one line of JSON, a `Spoken`; an attempt that
failed is an exit status of 1 and the reason on standard error. With `--address`, that is dialled instead of
what the name resolves to.
"""

import argparse
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module

from federation.demo.samples import GRPC_SERVICE, Answer

_TIMEOUT = 10.0
_WORDS = ("one", "two", "three")


class Misunderstood(Exception):
    """The other side did not keep to the protocol."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to call: a name and a port, and what to dial when that is not the name."""

    name: str
    port: int
    address: str | None = None

    @property
    def host(self) -> str:
        """What is dialled."""
        return self.address or self.name

    @property
    def authority(self) -> str:
        """What the request says that it wants."""
        return f"{self.name}:{self.port}"

    def socket(self) -> socket.socket:
        """A connection of its own."""
        return socket.create_connection((self.host, self.port), timeout=_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A call that worked: what was answered, and how long it took, connecting included."""

    program: str
    answer: Answer
    ms: float

    @classmethod
    def parse(cls, text: str) -> "Spoken":
        """Undo what a client printed."""
        said = json.loads(text)
        return cls(said["program"], Answer(**said["answer"]), said["ms"])


def http1(target: Target) -> Answer:
    """Two requests on one kept HTTP/1.1 connection."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=_TIMEOUT)
    try:
        answers = [_get(connection, target.authority) for _ in range(2)]
    finally:
        connection.close()
    return _same(answers)


def http2(target: Target) -> Answer:
    """Two requests on one HTTP/2 connection, without TLS and without asking first."""
    import httpx

    host = f"[{target.host}]" if ":" in target.host else target.host
    with httpx.Client(http1=False, http2=True, trust_env=False, timeout=_TIMEOUT) as client:
        url, headers = f"http://{host}:{target.port}/", {"host": target.authority}
        responses = [client.get(url, headers=headers).raise_for_status() for _ in range(2)]
    for response in responses:
        _expect(response.http_version, "HTTP/2")
    return _same([Answer.parse(response.content) for response in responses])


def grpc(target: Target) -> Answer:
    """One unary call, and a conversation of several messages on the same channel."""
    import grpc as grpcio

    address = target.host if ":" not in target.host else f"[{target.host}]"
    options = [("grpc.default_authority", target.authority), ("grpc.enable_http_proxy", 0)]
    with grpcio.insecure_channel(f"{address}:{target.port}", options=options) as channel:
        ask = channel.unary_unary(f"/{GRPC_SERVICE}/Ask", bytes, bytes)
        chat = channel.stream_stream(f"/{GRPC_SERVICE}/Chat", bytes, bytes)
        unary = ask(b"", timeout=_TIMEOUT)
        greeting, *echoes = chat((word.encode() for word in _WORDS), timeout=_TIMEOUT)
    _expect([echo.decode() for echo in echoes], list(_WORDS))
    return _same([Answer.parse(unary), Answer.parse(greeting)])


def websocket(target: Target) -> Answer:
    """Upgrade, be greeted, and have messages repeated."""
    from websockets.sync.client import connect

    with connect(f"ws://{target.authority}/", sock=target.socket(), open_timeout=_TIMEOUT, proxy=None) as ws:
        answer = Answer.parse(ws.recv(timeout=_TIMEOUT))
        for word in _WORDS:
            ws.send(word)
            _expect(ws.recv(timeout=_TIMEOUT), word)
    return answer


def tcp(target: Target) -> Answer:
    """Say nothing until greeted, have lines repeated, finish one's own side, and hear the good-bye."""
    with target.socket() as connection, connection.makefile("rwb") as stream:
        answer = Answer.parse(stream.readline())
        for word in _WORDS:
            stream.write(word.encode() + b"\n")
            stream.flush()
            _expect(stream.readline(), word.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        _expect(stream.read(), f"good-bye after {len(_WORDS)} lines\n".encode())
    return answer


@dataclass(frozen=True, slots=True)
class Client:
    """A way to call, the program or library it stands for, and the module that this needs."""

    call: Callable[[Target], Answer]
    program: str
    module: str


CLIENTS = {
    "http1": Client(http1, "http.client", "http.client"),
    "http2": Client(http2, "httpx", "httpx"),
    "grpc": Client(grpc, "grpcio", "grpc"),
    "websocket": Client(websocket, "websockets", "websockets.sync.client"),
    "tcp": Client(tcp, "socket", "socket"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make one call and print how it went."""
    parser = argparse.ArgumentParser(prog="python -m federation.demo.clients", description="One call.")
    parser.add_argument("kind", choices=CLIENTS)
    parser.add_argument("name", help="the host name to call")
    parser.add_argument("port", type=int)
    parser.add_argument("--address", help="what to dial instead of what the name resolves to")
    said = parser.parse_args(argv)
    client = CLIENTS[said.kind]
    import_module(client.module)  # before the clock starts: loading a library is not a part of the call
    began = time.perf_counter()
    try:
        answer = client.call(Target(said.name, said.port, said.address))
    except Exception as error:  # whatever a library raises is, here, a call that failed
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(Spoken(client.program, answer, (time.perf_counter() - began) * 1000))))
    return 0


def _get(connection: http.client.HTTPConnection, authority: str) -> Answer:
    connection.request("GET", "/", headers={"Host": authority})
    response = connection.getresponse()
    body = response.read()
    _expect(response.status, 200)
    return Answer.parse(body)


def _same(answers: Sequence[Answer]) -> Answer:
    """The last of *answers*, all from the same service; each request may have come to it by another way."""
    for answer in answers[1:]:
        _expect((answer.answered_by, answer.protocol), (answers[0].answered_by, answers[0].protocol))
    return answers[-1]


def _expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise Misunderstood(f"wanted {wanted!r}, got {got!r}")


if __name__ == "__main__":
    sys.exit(main())
