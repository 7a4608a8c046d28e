"""Connections of the load's callers: each protocol in as few lines and as little work as it takes.

A library would try again on its own, or dial the next address, and hide what we count. So the protocols are
spoken here, over one connection to one address: what goes wrong on it has gone wrong for the caller. HTTP/2
and gRPC are framed by `h2`; the others need no help.
"""

import asyncio
import os
import struct
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from federation.demo.clients import Misunderstood
from federation.demo.samples import GRPC_SERVICE, Answer

_CHUNK: Final = 1 << 16
_LINE: Final = b"once more\n"
# A frame begins with its length, kind, flags and stream; a GOAWAY goes on with a stream and an error.
_FRAME: Final = struct.Struct("!HBBBI")
_GOAWAY: Final = 7
_LEAVE: Final = struct.Struct("!II")


@dataclass(frozen=True, slots=True)
class Dialled:
    """An open connection, and the name and port for which it was opened."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    authority: str

    @property
    def open(self) -> bool:
        """Whether the other side, as far as we have heard, still listens."""
        return not (self.reader.at_eof() or self.reader.exception() or self.writer.is_closing())

    def close(self) -> None:
        """Let go of it."""
        self.writer.close()


class Speaker(Protocol):
    """One connection in one protocol."""

    async def begin(self) -> None:
        """Say what the protocol wants said before the first call."""

    async def call(self) -> str:
        """Make one call; gives who answered. Raises OSError, EOFError, or what `FAULTS` names."""

    async def finish(self) -> None:
        """End the connection as the protocol wants it ended."""

    @property
    def usable(self) -> bool:
        """Whether another call may be made."""


# What a call can raise when something is wrong with what is called; a TimeoutError is an OSError.
FAULTS: Final = (OSError, EOFError, Misunderstood, ProtocolError, ValueError, LookupError)


class Http1:
    """HTTP/1.1, kept alive."""

    def __init__(self, dialled: Dialled) -> None:
        self._dialled = dialled
        self._kept = True
        self._request = f"GET / HTTP/1.1\r\nhost: {dialled.authority}\r\n\r\n".encode()

    async def begin(self) -> None:
        """Nothing is said before a request."""

    async def call(self) -> str:
        """One request."""
        self._dialled.writer.write(self._request)
        head = (await self._dialled.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, *lines = head.split("\r\n")
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status.split(" ")[1] != "200":
            raise Misunderstood(status)
        self._kept = fields.get("connection") != "close"
        return Answer.parse(await self._body(fields)).answered_by

    async def _body(self, fields: dict[str, str]) -> bytes:
        reader = self._dialled.reader
        if "content-length" in fields:
            return await reader.readexactly(int(fields["content-length"]))
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return body

    async def finish(self) -> None:
        """Hang up: between two requests nothing is lost by that."""

    @property
    def usable(self) -> bool:
        """Whether the server wants the connection kept, too."""
        return self._kept and self._dialled.open


class Http2:
    """HTTP/2 without TLS, and gRPC upon it: one stream a call."""

    def __init__(self, dialled: Dialled, *, grpc: bool = False) -> None:
        self._dialled = dialled
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._told_to_leave = False
        self._stream = 0
        self._begun = b""  # of a frame
        self._headers = _grpc_headers(dialled.authority) if grpc else _get_headers(dialled.authority)
        # An empty message, not compressed.
        self._message = bytes(5) if grpc else None

    async def begin(self) -> None:
        """Send the preface."""
        self._h2.initiate_connection()
        self._flush()

    async def call(self) -> str:
        """One request on a stream of its own."""
        stream = self._stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, self._headers, end_stream=self._message is None)
        if self._message is not None:
            self._h2.send_data(stream, self._message, end_stream=True)
        self._flush()
        headers, body = await self._response(stream)
        if headers.get(":status") != "200" or headers.get("grpc-status", "0") != "0":
            raise Misunderstood(f"status {headers.get(':status')}, {headers.get('grpc-status', 'none')}")
        return Answer.parse(body[5:] if self._message else body).answered_by

    async def _response(self, stream: int) -> tuple[dict[str, str], bytes]:
        headers: dict[str, str] = {}
        body = b""
        while True:
            for event in await self._events():
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, ResponseReceived | TrailersReceived):
                    headers |= {str(name): str(value) for name, value in event.headers or ()}
                elif isinstance(event, DataReceived):
                    body += event.data or b""
                elif isinstance(event, StreamReset):
                    raise Misunderstood(f"stream reset, error {event.error_code}")
                elif isinstance(event, StreamEnded):
                    return headers, body

    def _heed(self, received: bytes) -> bytes:
        """The whole frames of *received* and what came before, without those that tell us to leave.

        `h2` wants to hear no more after a GOAWAY, not even the answers that were under way.
        """
        rest, passed = self._begun + received, b""
        while len(rest) >= _FRAME.size:
            high, low, kind, _, _ = _FRAME.unpack_from(rest)
            end = _FRAME.size + (high << 8 | low)
            if len(rest) < end:
                break
            if kind == _GOAWAY:
                self._leave(*_LEAVE.unpack_from(rest, _FRAME.size))
            else:
                passed += rest[:end]
            rest = rest[end:]
        self._begun = rest
        return passed

    def _leave(self, last: int, error: int) -> None:
        """Heed a GOAWAY: streams up to the *last* that it names go on, and no other is opened."""
        self._told_to_leave = True
        if error or last < self._stream:
            raise Misunderstood(f"told to go away, error {error}")

    async def _events(self) -> list[Event]:
        received = await self._dialled.reader.read(_CHUNK)
        if not received:
            raise EOFError("closed before the answer")
        events = self._h2.receive_data(self._heed(received))
        for event in events:
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        self._flush()
        return events

    def _flush(self) -> None:
        self._dialled.writer.write(self._h2.data_to_send())

    async def finish(self) -> None:
        """Say that no more streams come."""
        with suppress(ProtocolError):
            self._h2.close_connection()
            self._flush()

    @property
    def usable(self) -> bool:
        """Whether another stream may be opened."""
        return not self._told_to_leave and self._dialled.open


def grpc(dialled: Dialled) -> Http2:
    """Unary calls of the sample's `Ask`."""
    return Http2(dialled, grpc=True)


class WebSocket:
    """An upgraded connection: one message and its echo are a call."""

    def __init__(self, dialled: Dialled) -> None:
        self._dialled = dialled
        self._greeting = ""

    async def begin(self) -> None:
        """Upgrade, and be greeted."""
        key = b64encode(os.urandom(16)).decode()
        lines = ["GET / HTTP/1.1", f"host: {self._dialled.authority}", "connection: Upgrade"]
        lines += ["upgrade: websocket", f"sec-websocket-key: {key}", "sec-websocket-version: 13", "", ""]
        self._dialled.writer.write("\r\n".join(lines).encode())
        status, _, _ = (await self._dialled.reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        if status.split(b" ")[1] != b"101":
            raise Misunderstood(status.decode())
        self._greeting = Answer.parse(await self._message()).answered_by

    async def call(self) -> str:
        """One message."""
        mask = os.urandom(4)
        said = bytes(byte ^ mask[i % 4] for i, byte in enumerate(_LINE))
        self._dialled.writer.write(b"\x81" + bytes([0x80 | len(said)]) + mask + said)
        if await self._message() != _LINE:
            raise Misunderstood("the echo is not what was said")
        return self._greeting

    async def _message(self) -> bytes:
        """The next text message, which is short enough for one frame; pings are not for us."""
        while True:
            first, length = await self._dialled.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self._dialled.reader.readexactly(2))
            content = await self._dialled.reader.readexactly(length)
            if first & 0x0F == 8:
                raise EOFError("closed by the server")
            if first & 0x0F == 1:
                return content

    async def finish(self) -> None:
        """Say good-bye, and hear it."""
        self._dialled.writer.write(b"\x88\x80" + os.urandom(4))
        with suppress(EOFError):
            await self._message()

    @property
    def usable(self) -> bool:
        """Whether another message may be sent."""
        return self._dialled.open


class Tcp:
    """A server that speaks first and repeats lines: one line is a call."""

    def __init__(self, dialled: Dialled) -> None:
        self._dialled = dialled
        self._greeting = ""
        self._lines = 0

    async def begin(self) -> None:
        """Say nothing until greeted."""
        self._greeting = Answer.parse(await self._dialled.reader.readuntil(b"\n")).answered_by

    async def call(self) -> str:
        """One line."""
        self._dialled.writer.write(_LINE)
        if await self._dialled.reader.readuntil(b"\n") != _LINE:
            raise Misunderstood("the echo is not what was said")
        self._lines += 1
        return self._greeting

    async def finish(self) -> None:
        """Finish one's own side, and hear the good-bye with every line counted."""
        self._dialled.writer.write_eof()
        rest = await self._dialled.reader.read()
        if rest != f"good-bye after {self._lines} lines\n".encode():
            raise Misunderstood(f"instead of a good-bye: {rest!r}")

    @property
    def usable(self) -> bool:
        """Whether another line may be sent."""
        return self._dialled.open


def _get_headers(authority: str) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", authority)]


def _grpc_headers(authority: str) -> list[tuple[str, str]]:
    path = f"/{GRPC_SERVICE}/Ask"
    head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)]
    return [*head, ("te", "trailers"), ("content-type", "application/grpc")]
