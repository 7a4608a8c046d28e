"""HTTP as the tests with two real Envoys speak it: a server that says what it saw, and callers by hand.

The server tells HTTP/1 and HTTP/2 apart by how a connection begins. It answers every request with what it saw
of it (`Seen`), in JSON; some paths are answered in other ways:

- `/refuse` answers 417 to a caller that waits for `100 Continue`,
- `/long` is answered with `LONG`, which buffers on the way hold, but not those of the caller; in HTTP/2 with
  as much of it as a stream's window takes,
- `/until-the-end` is answered with `PAYLOAD`, whose length only the end of the connection tells.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import h11

from tests.system.mesh import connect

PAYLOAD = bytes(range(256)) * 1200
LONG = bytes(3_000_000)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Seen:
    """A request as the server saw it; names of headers as they were written."""

    server: str
    peer: str
    protocol: str
    method: str
    target: str
    headers: Pairs
    body: str = ""
    trailers: Pairs = field(default_factory=list)

    @classmethod
    def parse(cls, text: bytes) -> "Seen":
        """Undo `encode`."""
        said = json.loads(text)
        for key in ("headers", "trailers"):
            said[key] = [(name, value) for name, value in said[key]]
        return cls(**said)

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def all(self, name: str) -> list[str]:
        """The values of every header and trailer that some server may take for *name*."""
        found = [*self.headers, *self.trailers]
        return [value for key, value in found if key.lower().replace("_", "-") == name]


@dataclass(slots=True)
class Answer:
    """A response as the caller saw it."""

    head: str
    body: bytes
    trailers: str = ""

    @property
    def status(self) -> int:
        return int(self.head.split(" ", 2)[1])

    @property
    def seen(self) -> Seen:
        return Seen.parse(self.body)


# --- the server


async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whatever comes on one connection."""
    ends = ("sockname", "peername")
    server, peer = ("{}:{}".format(*writer.get_extra_info(end)) for end in ends)
    begin = await reader.read(1 << 16)
    if begin.startswith(PREFACE[:3]):
        await _serve_http2(begin, reader, writer, server, peer)
    else:
        await _Http1(begin, reader, writer, server, peer).serve()


class _Http1:
    def __init__(
        self,
        begin: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: str,
        peer: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ends = server, peer
        # A head may come in pieces, and gateways carry longer ones than h11 waits for by itself.
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        self._http.receive_data(begin)

    async def serve(self) -> None:
        try:
            while isinstance(request := await self._next(), h11.Request):
                if not await self._answer(request):
                    return
                self._http.start_next_cycle()
        except h11.LocalProtocolError:
            return  # one of the sides wants no more requests on this connection

    async def _answer(self, request: h11.Request) -> bool:
        target = request.target.decode()
        if target == "/until-the-end":
            self._writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PAYLOAD)
            await self._writer.drain()
            return False
        if target == "/long":
            self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG)
            await self._writer.drain()
            await self._reader.read(1)  # until the caller hangs up
            return False
        if self._http.they_are_waiting_for_100_continue:
            if target == "/refuse":
                self._send(
                    h11.Response(status_code=417, headers=[("content-length", "0")]), h11.EndOfMessage()
                )
                return False
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        headers = [(name.decode(), value.decode()) for name, value in request.headers.raw_items()]
        method, protocol = request.method.decode(), f"HTTP/{request.http_version.decode()}"
        seen = Seen(*self._ends, protocol, method, target, headers)
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            seen.body += event.data.decode()
        seen.trailers = [(name.decode(), value.decode()) for name, value in event.headers.raw_items()]
        self._send(
            h11.Response(status_code=200, reason=b"As You Like It", headers=[("X-Odd-CASE", "Kept")]),
            h11.Data(data=seen.encode()),
            h11.EndOfMessage(headers=[("X-Trailing", "kept")] if ("TE", "trailers") in headers else []),
        )
        await self._writer.drain()
        return True

    async def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(1 << 16))
        return event

    def _send(self, *events: h11.Event) -> None:
        for event in events:
            self._writer.write(self._http.send(event) or b"")


async def _serve_http2(
    begin: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: str, peer: str
) -> None:
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    http.initiate_connection()
    # As a server that takes WebSockets over HTTP/2 says.
    http.update_settings({h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    open_streams: dict[int, Seen] = {}
    received = begin
    while received:
        for event in http.receive_data(received):
            if isinstance(event, h2.events.RequestReceived):
                pairs = [(str(name), str(value)) for name, value in event.headers]
                said = dict(pairs)
                target = said.get(":path", "")
                open_streams[event.stream_id] = Seen(server, peer, "HTTP/2", said[":method"], target, pairs)
            elif isinstance(event, h2.events.DataReceived):
                open_streams[event.stream_id].body += event.data.decode()
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                open_streams[event.stream_id].trailers = [(str(n), str(v)) for n, v in event.headers]
            elif isinstance(event, h2.events.StreamEnded):
                seen = open_streams.pop(event.stream_id)
                http.send_headers(event.stream_id, [(":status", "200")])
                answer = seen.encode() if seen.target != "/long" else LONG[:900_000]
                for start in range(0, len(answer), http.max_outbound_frame_size):
                    part = answer[start : start + http.max_outbound_frame_size]
                    http.send_data(event.stream_id, part)
                http.send_headers(event.stream_id, [("x-trailing", "kept")], end_stream=True)
        writer.write(http.data_to_send())
        await writer.drain()
        received = await reader.read(1 << 16)


# --- callers


class Http1:
    """One connection of a caller, on which requests are written by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes | str = "/") -> Answer:
        """The answer to *request*, or to a GET of it if it is a path."""
        if isinstance(request, str):
            request = f"GET {request} HTTP/1.1\r\nHost: web\r\n\r\n".encode()
        self.writer.write(request)
        return await self.hear()

    async def hear(self) -> Answer:
        """The next answer, as long as it says that it is."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        if "content-length" in headers:
            return Answer(head, await self.reader.readexactly(int(headers["content-length"])))
        if headers.get("transfer-encoding") != "chunked":
            return Answer(head, await self.reader.read(-1))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        trailers = ""
        while (line := await self.reader.readline()) != b"\r\n":
            trailers += line.decode()
        return Answer(head, body, trailers)


@asynccontextmanager
async def http1(to: tuple[str, int], source: str) -> AsyncIterator[Http1]:
    """A connection from *source*, to speak HTTP/1 on."""
    async with asyncio.timeout(20):
        reader, writer = await connect(to, source)
        try:
            yield Http1(reader, writer)
        finally:
            writer.close()


async def get(to: tuple[str, int], source: str, path: str = "/") -> Answer:
    """Ask once, on a connection of its own."""
    async with http1(to, source) as connection:
        return await connection.ask(path)


class Http2:
    """One connection of a caller that speaks HTTP/2 from its first byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http.initiate_connection()

    async def ask(
        self,
        path: str = "/",
        body: bytes = b"",
        *,
        headers: Sequence[tuple[str, str]] = (),
        trailers: Sequence[tuple[str, str]] = (),
    ) -> Seen:
        """What the server saw of a request."""
        stream = self._http.get_next_available_stream_id()
        about = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "web"}
        self._http.send_headers(stream, [*about.items(), *headers])
        self._http.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self._http.send_headers(stream, trailers, end_stream=True)
        answer = b""
        while True:
            self._writer.write(self._http.data_to_send())
            received = await self._reader.read(1 << 16)
            if not received:
                raise ConnectionError("cut")
            for event in self._http.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    answer += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return Seen.parse(answer)
                elif isinstance(event, h2.events.StreamReset):
                    raise ConnectionError(f"reset with {event.error_code}")


@asynccontextmanager
async def http2(to: tuple[str, int], source: str) -> AsyncIterator[Http2]:
    """A connection from *source*, to speak HTTP/2 on."""
    async with asyncio.timeout(20):
        reader, writer = await connect(to, source)
        try:
            yield Http2(reader, writer)
        finally:
            writer.close()
