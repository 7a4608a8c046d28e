"""A name server for tests, that answers as it is told and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from federation.dns.sockets import bind

Answering: TypeAlias = Callable[[dns.message.Message], list[dns.message.Message]]


def address(query: dns.message.Message, *addresses: str) -> dns.message.Message:
    """A response with these A records."""
    response = dns.message.make_response(query, recursion_available=True)
    if addresses:
        response.answer.append(dns.rrset.from_text_list(query.question[0].name, 60, "IN", "A", addresses))
    return response


def refusing(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    """A response that only says no."""
    response = dns.message.make_response(query)
    response.set_rcode(rcode)
    return response


def truncated(query: dns.message.Message) -> dns.message.Message:
    """A response that sends its reader to TCP."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return response


@dataclass
class FakeUpstream(asyncio.DatagramProtocol):
    """Answers over UDP and TCP on one port; `seen` are the queries over UDP, with their senders' ports."""

    over_udp: Answering
    over_tcp: Answering = lambda _: []
    seen: list[tuple[dns.message.Message, int]] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.seen.append((query, addr[1]))
        for response in self.over_udp(query):
            self._transport.sendto(response.to_wire(max_size=65535), addr)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question over TCP."""
        query = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        for response in self.over_tcp(query):
            wire = response.to_wire(max_size=65535)
            writer.write(len(wire).to_bytes(2) + wire)
        writer.close()


@asynccontextmanager
async def upstream(
    over_udp: Answering, over_tcp: Answering = lambda _: [], at: str = "127.0.0.1:0"
) -> AsyncIterator[FakeUpstream]:
    """Run a fake upstream on a port of its own."""
    fake = FakeUpstream(over_udp, over_tcp)
    bound = bind(at)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: fake, sock=bound.udp)
    server = await asyncio.start_server(fake.converse, sock=bound.tcp)
    try:
        yield fake
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
