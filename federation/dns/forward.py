"""Names that are not the clusterset's: passed on to other name servers, and their answers back.

Against forged answers each question leaves from a port of its own under a random id, and only an answer
that repeats both id and question, from the address that was asked, is taken.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from clusters.names import canonical_address
from federation.dns.message import HEADER, TCP_LIMIT, Query, Rcode
from federation.settings import DNS_PORT, host_port

_CANNOT_TELL = (Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED)


class Upstream(NamedTuple):
    """A name server to ask."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Upstream":
        """Read `ADDRESS[:PORT]`, port 53 by default. A name would have to be looked up with us."""
        host, port = host_port(text, DNS_PORT)
        return cls(canonical_address(host), port)


class Forwarder:
    """Asks *upstreams* in turn, beginning with the one that answered last."""

    def __init__(self, upstreams: Sequence[Upstream], *, timeout: float = 1.5, at_once: int = 256) -> None:
        self.upstreams = tuple(upstreams)
        self._timeout = timeout
        self._free = at_once
        self._first = 0

    async def ask(self, packet: bytes, query: Query) -> bytes | None:
        """What an upstream answers to *packet*, whole; `None` when none does, or too many are being asked."""
        if not self._free:
            return None
        self._free -= 1
        try:
            return await self._ask_in_turn(packet, query)
        finally:
            self._free += 1

    async def _ask_in_turn(self, packet: bytes, query: Query) -> bytes | None:
        """Ask until one knows; an upstream that only says that it cannot tell is the last resort."""
        first, unhelpful = self._first, None
        for step in range(len(self.upstreams)):
            turn = (first + step) % len(self.upstreams)
            question = secrets.token_bytes(2) + packet[2:]
            try:
                async with asyncio.timeout(self._timeout):
                    answer = query.ident + (await _ask(self.upstreams[turn], question, query))[2:]
            except (OSError, EOFError):  # among the first is TimeoutError
                continue
            if answer[3] & 0xF in _CANNOT_TELL:
                unhelpful = unhelpful or answer
                continue
            self._first = turn
            return answer
        return unhelpful


async def _ask(upstream: Upstream, packet: bytes, query: Query) -> bytes:
    answer = await _ask_udp(upstream, packet, query)
    return await _ask_tcp(upstream, packet, query) if answer[2] & 0x02 else answer


class _Exchange(asyncio.DatagramProtocol):
    """One question on a socket of its own: everything but its answer is ignored."""

    def __init__(self, packet: bytes, query: Query) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._packet = packet
        self._query = query

    def datagram_received(self, data: bytes, addr: object) -> None:
        if _answers(data, self._packet, self._query) and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_udp(upstream: Upstream, packet: bytes, query: Query) -> bytes:
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(
        lambda: _Exchange(packet, query), remote_addr=upstream
    )
    try:
        transport.sendto(packet)
        return await exchange.answer
    finally:
        transport.close()


async def _ask_tcp(upstream: Upstream, packet: bytes, query: Query) -> bytes:
    reader, writer = await asyncio.open_connection(*upstream, limit=TCP_LIMIT)
    try:
        writer.write(len(packet).to_bytes(2) + packet)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    finally:
        writer.close()
    if not _answers(answer, packet, query):
        raise ConnectionError("the answer is to another question")
    return answer


def _answers(data: bytes, packet: bytes, query: Query) -> bool:
    """Whether *data* is an answer to *packet*."""
    end = HEADER + len(query.question)
    repeated = data[HEADER : end - 4].lower() + data[end - 4 : end] == query.key
    return len(data) >= HEADER and data[:2] == packet[:2] and data[2] & 0x80 > 0 and repeated
