"""The applications of the system tests: one process on a host, which makes calls when it is told to.

It reads `{"call": NAME, "with": {...}}` on standard input, a line each, and prints `{"value": ...}` or
`{"error": ...}`. It knows of fedgate as much as any program: names, ports, and where its own packets leave.
"""

import asyncio
import hashlib
import http.client
import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import cycle, islice

from federation.demo.clients import CLIENTS, Target

_TIMEOUT = 10.0
_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


def resolve(name: str) -> dict[str, list[str]]:
    """The addresses of *name* by record type, as the machine's resolver says."""
    found = {}
    for record, family in _FAMILIES.items():
        try:
            answers = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
        except socket.gaierror:
            answers = []
        found[record] = sorted(str(address[0]) for *_, address in answers)
    return found


def sample(kind: str, name: str, port: int, record: str = "A") -> list[str]:
    """Call a sample service as the demo does: who answered, in which protocol, and the peer it saw."""
    answer = CLIENTS[kind].call(Target(name, port, _dialled(name, record)))
    return [answer.answered_by, answer.protocol, answer.peer]


def chunked(name: str, port: int, record: str = "A") -> str:
    """Two chunked requests on one kept connection, answered in chunks; how the bodies were framed."""
    connection = http.client.HTTPConnection(_dialled(name, record), port, timeout=_TIMEOUT)
    framings = []
    try:
        for number in range(2):
            parts = [bytes([number + 65]) * (1 << n) for n in range(0, 18, 3)]
            connection.request("POST", "/", iter(parts), {"Host": name}, encode_chunked=True)
            response = connection.getresponse()
            framings.append(response.headers.get("transfer-encoding", "none"))
            if response.read() != b"".join(parts):
                raise ValueError("another body came back")
    finally:
        connection.close()
    return ",".join(framings)


def redis(name: str, port: int, record: str = "A") -> list[str]:
    """A Redis conversation: a value set and read on one connection, then a pipeline."""
    with _connect(name, port, record) as connection, connection.makefile("rb") as answers:
        value = os.urandom(20_000).hex()
        said = []
        for words in (["SET", "key", value], ["GET", "key"], ["INCR", "count"], ["DEL", "count", "key"]):
            connection.sendall(_resp(words))
            said.append(_resp_answer(answers.readline, answers.read))
        if said[1] != value:
            raise ValueError("another value came back")
        connection.sendall(_resp(["PING"]) * 100)
        pongs = [_resp_answer(answers.readline, answers.read) for _ in range(100)]
        return [said[0], *said[2:], f"{pongs.count('PONG')} pongs"]


def bulk(name: str, port: int, size: int, record: str = "A") -> list[str]:
    """Send *size* bytes while as many come back: the hash of each."""
    payload = os.urandom(size)
    with _connect(name, port, record) as connection:

        def send() -> None:
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        came = hashlib.sha256()
        while part := connection.recv(1 << 16):
            came.update(part)
        sender.join()
    return [hashlib.sha256(payload).hexdigest(), came.hexdigest()]


def half_closed(name: str, port: int, record: str = "A") -> bool:
    """Say all, close one's own side, and hear the late answer: whether it was the right one."""
    payload = os.urandom(100_000)
    with _connect(name, port, record) as connection:
        connection.sendall(payload)
        connection.shutdown(socket.SHUT_WR)
        return _read_all(connection) == payload


def hear_out(name: str, port: int, times: int, record: str = "A") -> list[str]:
    """Listen to a server until it closes, *times* over: the hash of what it said each time."""
    said = []
    for _ in range(times):
        with _connect(name, port, record) as connection:
            said.append(hashlib.sha256(_read_all(connection)).hexdigest())
    return said


def who(name: str, port: int, source: str) -> str:
    """The peer that the server saw in a call from *source*; empty if it was refused or cut."""
    try:
        with socket.create_connection((name, port), _TIMEOUT, (source, 0)) as connection:
            connection.sendall(b"\n")
            return connection.makefile().readline().strip()
    except OSError:
        return ""


def many(
    target: dict[str, str], port: int, sources: list[str], fresh: int, kept: int, each: int
) -> list[list[object]]:
    """From each of *sources* at once: *fresh* connections with a call each, *kept* ones with *each* calls.

    *target* is dialled, by record type. Gives [source, peer that the server saw, calls], a connection each.
    """

    async def talk(source: str, calls: int) -> list[object]:
        address = target["AAAA" if ":" in source else "A"]
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(address, port, local_addr=(source, 0))
            try:
                peers = set()
                for _ in range(calls):
                    writer.write(b"\n")
                    peers.add((await reader.readline()).decode().strip())
            finally:
                writer.close()
        if len(peers) != 1 or "" in peers:
            raise ValueError(f"the calls of one connection from {source} came from {peers}")
        return [source, peers.pop(), calls]

    async def of(source: str) -> list[list[object]]:
        lasting = [asyncio.create_task(talk(source, each)) for _ in range(kept)]
        short = [await talk(source, 1) for _ in range(fresh)]
        return short + [await task for task in lasting]

    async def everybody() -> list[list[object]]:
        return [made for some in await asyncio.gather(*map(of, sources)) for made in some]

    return asyncio.run(everybody())


def many_told(
    target: dict[str, str], http: int, raw: int, sources: list[str], kept: int, each: int
) -> list[list[object]]:
    """From each of *sources* at once: HTTP requests that lie about who sends them, and calls in bytes.

    *each* on each of *kept* connections, as many on connections of their own, and for every tenth of these a
    call to the port *raw*. Gives [source, what the server saw, how often], each sort once; of a request the
    server saw a peer and whom it was told that it is from, of a call in bytes the peer alone.
    """
    seen: dict[tuple[str, str], int] = {}

    async def talk(source: str, port: int, request: bytes, calls: int) -> None:
        address = target["AAAA" if ":" in source else "A"]
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(address, port, local_addr=(source, 0))
            try:
                for _ in range(calls):
                    writer.write(request)
                    if port == http:
                        head = await reader.readuntil(b"\r\n\r\n")
                        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])
                        answer = (await reader.readexactly(size)).decode()
                    else:
                        answer = json.dumps([(await reader.readline()).decode().strip()])
                    seen[source, answer] = seen.get((source, answer), 0) + 1
            finally:
                writer.close()

    async def of(source: str, other: str) -> None:
        lie = f"X-Forwarded-Client-Cert: URI={other}\r\nX-Forwarded-For: {other}\r\nx-fed-caller: src/{other}"
        request = f"GET / HTTP/1.1\r\nHost: told\r\n{lie}\r\n\r\n".encode()
        lasting = [asyncio.create_task(talk(source, http, request, each)) for _ in range(kept)]
        for number in range(kept * each):
            await talk(source, http, request, 1)
            if number % 10 == 0:
                await talk(source, raw, b"\n", 1)
        await asyncio.gather(*lasting)

    async def everybody() -> None:
        await asyncio.gather(*map(of, sources, sources[1:] + sources[:1]))

    asyncio.run(everybody())
    return [[source, json.loads(answer), times] for (source, answer), times in seen.items()]


def flood(addresses: list[str], ports: list[int], source: str, most: int) -> int:
    """Call *most* pairs of address and port, a hundred at a time: how many were answered at all."""
    pairs = islice(zip(addresses, cycle(ports), strict=False), most)

    async def call(to: tuple[str, int]) -> bool:
        writer = None
        try:
            async with asyncio.timeout(_TIMEOUT):
                reader, writer = await asyncio.open_connection(*to, local_addr=(source, 0))
                writer.write(b"GET / HTTP/1.1\r\nHost: flood\r\n\r\n")
                return bool(await reader.read(1))
        except OSError:
            return False
        finally:
            if writer:
                writer.close()

    async def worker() -> int:
        return sum([await call(to) for to in pairs])

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(worker() for _ in range(100))))

    return asyncio.run(all_of_them())


def flood_names(server: str, suffix: str, most: int) -> dict[str, int]:
    """Ask for *most* names that do not exist, fifty at a time: how often each response code came."""
    codes: dict[str, int] = {}
    tail = b"".join(bytes([len(word)]) + word.encode() for word in suffix.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.settimeout(_TIMEOUT)
        wire.connect((server, 53))
        for start in range(0, most, 50):
            for number in range(start, start + 50):
                first = f"x{number}".encode()
                head = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
                wire.send(head + bytes([len(first)]) + first + tail)
            for _ in range(50):
                code = str(wire.recv(4096)[3] & 15)
                codes[code] = codes.get(code, 0) + 1
    return codes


class Steady:
    """Calls that go on in the background: on kept connections, and a new connection after another."""

    def __init__(self, name: str, port: int, sources: list[str], kept: int) -> None:
        self._to = name, port
        self._over = threading.Event()
        self._done = {"kept": 0, "fresh": 0}
        self._failures: list[str] = []
        jobs = [("kept", self._kept, sources[n % len(sources)]) for n in range(kept)]
        jobs += [("fresh", self._fresh, source) for source in sources]
        self._threads = [threading.Thread(target=self._guarded, args=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def end(self, after: float) -> dict[str, object]:
        """Go on for *after* seconds, and stop: how many calls of each sort there were, and what failed."""
        self._over.wait(after)
        self._over.set()
        for thread in self._threads:
            thread.join()
        return {**self._done, "failures": self._failures}

    def _guarded(self, sort: str, calls: Callable[[str], Generator[None, None, None]], source: str) -> None:
        running = calls(source)
        while not self._over.is_set():
            try:
                next(running)
                self._done[sort] += 1
            except Exception as error:
                self._failures.append(f"{sort} from {source}: {type(error).__name__}: {error}")
                running = calls(source)
            self._over.wait(0.02)
        running.close()

    def _kept(self, source: str) -> Generator[None, None, None]:
        with self._dial(source) as connection, connection.makefile() as answers:
            while True:
                self._ask(connection, answers.readline)
                yield

    def _fresh(self, source: str) -> Generator[None, None, None]:
        while True:
            with self._dial(source) as connection, connection.makefile() as answers:
                self._ask(connection, answers.readline)
            yield

    def _dial(self, source: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        *_, address = socket.getaddrinfo(*self._to, family, socket.SOCK_STREAM)[0]
        return socket.create_connection((str(address[0]), self._to[1]), _TIMEOUT, (source, 0))

    def _ask(self, connection: socket.socket, answer: Callable[[], str]) -> None:
        connection.sendall(b"\n")
        if not answer().endswith("\n"):
            raise ConnectionError("cut")


_open: dict[str, socket.socket] = {}


def keep(key: str, name: str, port: int, source: str) -> str:
    """Call from *source*, and keep the connection under *key*; the peer that the server sees."""
    _open[key] = socket.create_connection((name, port), _TIMEOUT, (source, 0))
    return goes_on(key)


def goes_on(key: str) -> str:
    """Say a line on the connection *key*; the answer, which is empty if it has ended."""
    try:
        _open[key].sendall(b"\n")
        return _open[key].makefile().readline().strip()
    except OSError:
        return ""


def ends(key: str, within: float) -> bool:
    """Whether the connection *key*, on which nothing is said, ends in time."""
    _open[key].settimeout(within)
    try:
        return not _open[key].recv(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


_steady: list[Steady] = []


def begin(name: str, port: int, sources: list[str], kept: int) -> int:
    """Begin to call *name* steadily from each of *sources*; how many such beginnings have no `end` yet."""
    _steady.append(Steady(name, port, sources, kept))
    return len(_steady)


def end(after: float = 0.0) -> dict[str, object]:
    """End what `begin` began, *after* so many seconds."""
    return _steady.pop().end(after)


CALLS = {
    call.__name__: call
    for call in (
        resolve,
        sample,
        chunked,
        redis,
        bulk,
        half_closed,
        hear_out,
        who,
        many,
        many_told,
        flood,
        flood_names,
        begin,
        end,
        keep,
        goes_on,
        ends,
    )
}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"value": CALLS[asked["call"]](**asked["with"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _dialled(name: str, record: str) -> str:
    """What *name* resolves to, of one family: to dial that and no other."""
    *_, address = socket.getaddrinfo(name, None, _FAMILIES[record], socket.SOCK_STREAM)[0]
    return str(address[0])


def _connect(name: str, port: int, record: str) -> socket.socket:
    return socket.create_connection((_dialled(name, record), port), _TIMEOUT)


def _read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def _resp(words: list[str]) -> bytes:
    """A command as Redis reads it."""
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def _resp_answer(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> str:
    """An answer of Redis: a simple or bulk string, or a number."""
    head = readline().decode().strip()
    match head[:1]:
        case "$":
            return read(int(head[1:]) + 2)[:-2].decode()
        case "+" | ":":
            return head[1:]
    raise ValueError(f"Redis says {head!r}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
