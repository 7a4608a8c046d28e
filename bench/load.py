"""The load: requests and connections by wrk, and bodies by a client and a server of our own.

As a program it is that client or server: `python -m bench.load serve HOST PORT`, or `get` or `put` with
HOST PORT BYTES, which prints how many seconds it took.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

_PIECE: Final = bytes(256 * 1024)

# wrk prints for people; this is for us. Its latencies are in microseconds.
WRK_SCRIPT: Final = """done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"errors":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""

Run = Callable[[list[str]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Visit:
    """What wrk saw in one visit."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


async def requests(
    run: Run, to: tuple[str, int], script: str, seconds: int, connections: int, *, keep: bool = True
) -> Visit:
    """Ask for as much as *connections* can; without *keep* each request has a connection of its own."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script]
    argv += [] if keep else ["-H", "Connection: close"]
    said = await run([*argv, f"http://{to[0]}:{to[1]}/"])
    return msgspec.json.decode(said[said.rindex('{"requests"') :], type=Visit)


async def body(run: Run, how: str, to: tuple[str, int], size: int) -> float:
    """`get` or `put` a body of *size* bytes: how many seconds it took."""
    said = await run([sys.executable, "-P", __file__, how, to[0], str(to[1]), str(size)])
    return float(json.loads(said))


def serve(host: str, port: int) -> None:
    """Give bodies and take them, a thread for each connection."""
    with socket.create_server((host, port), backlog=128) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        while head := _head(connection):
            lines = head[0].decode().lower().split("\r\n")
            method, path, _ = lines[0].split()
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length")), 0)
            size = int(path.strip("/") or 0) if method == "get" else 0
            _take(connection, length - len(head[1]))
            connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
            _give(connection, size)


def transfer(how: str, host: str, port: int, size: int) -> float:
    """One body, after a small request that opens whatever has to be opened on the way."""
    with socket.create_connection((host, port), 30) as connection:
        for each in (1, size):
            started = time.perf_counter()
            if how == "get":
                connection.sendall(f"GET /{each} HTTP/1.1\r\nhost: bulk\r\n\r\n".encode())
                head, rest = _head(connection) or (b"", b"")
                _take(connection, each - len(rest))
            else:
                connection.sendall(f"PUT / HTTP/1.1\r\nhost: bulk\r\ncontent-length: {each}\r\n\r\n".encode())
                _give(connection, each)
                head, _ = _head(connection) or (b"", b"")
            if b" 200 " not in head:
                raise ConnectionError(f"bad answer: {head[:80]!r}")
    return time.perf_counter() - started


def _head(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """The next head, and what came after it; None at the end."""
    said = b""
    while b"\r\n\r\n" not in said:
        part = connection.recv(65536)
        if not part:
            return None
        said += part
    head, _, rest = said.partition(b"\r\n\r\n")
    return head, rest


def _take(connection: socket.socket, size: int) -> None:
    room = memoryview(bytearray(len(_PIECE)))
    while size > 0:
        came = connection.recv_into(room[: min(size, len(room))])
        if not came:
            raise ConnectionError(f"cut {size} bytes before the end")
        size -= came


def _give(connection: socket.socket, size: int) -> None:
    while size > 0:
        connection.sendall(_PIECE[:size] if size < len(_PIECE) else _PIECE)
        size -= len(_PIECE)


if __name__ == "__main__":
    word, where, at = sys.argv[1:4]
    if word == "serve":
        serve(where, int(at))
    else:
        print(json.dumps(transfer(word, where, int(at), int(sys.argv[4]))))
