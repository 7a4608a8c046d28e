"""Packets from anybody: answered, refused or dropped, and the zone is what it was."""

import asyncio
from collections.abc import Iterator
from typing import Final, cast

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.names import ServiceName
from federation.dns.forward import Forwarder, Upstream
from federation.dns.message import HEADER, TCP_LIMIT, UDP_LIMIT, Query, parse_query
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from tests import builders
from tests.builders import CLOUD, ONPREM
from tests.hostile.strategies import damaged, hostile, noise

VIEW: Final = builders.view(
    builders.imported("cart", CLOUD, ONPREM),
    builders.imported("catalog", ONPREM, index=2),
    builders.imported("nowhere", index=3),
)
SERVER: Final = DnsServer((), Zone(VIEW), None)
AS_IT_WAS: Final = Zone(VIEW)
QUESTIONS: Final = tuple(
    dns.message.make_query(name, kind, use_edns=edns, payload=payload).to_wire()
    for name in (
        "cart.shop.svc.clusterset.local",
        "_http._tcp.cart.shop.svc.clusterset.local",
        "1.0.0.241.in-addr.arpa",
        "clusterset.local",
        "example.com",
        ".",
        ".".join(["a" * 63] * 3),
    )
    for kind, edns, payload in (("A", -1, 0), ("SRV", 0, 512), ("ANY", 0, 4096), ("AXFR", 1, 1232))
)


def check(packet: bytes, limit: int | None) -> None:
    """One packet, and what may come of it."""
    answer = SERVER.respond(packet) if limit is None else SERVER.respond(packet, limit)
    assert not isinstance(answer, Query), "nobody is asked in our place"
    if answer is None:
        assert len(packet) < HEADER or packet[2] & 0x80
        return
    assert answer[:2] == packet[:2]
    assert answer[2] & 0x80
    assert len(answer) <= max(limit or UDP_LIMIT, len(packet) + 11)


@hostile(400)
@given(st.one_of(damaged(QUESTIONS), damaged(QUESTIONS), noise(600)))
def test_any_packet_is_answered_or_dropped_and_changes_nothing(packet: bytes) -> None:
    check(packet, None)
    check(packet, TCP_LIMIT)
    assert SERVER.zone == AS_IT_WAS


def test_no_packet_has_left_anything_behind() -> None:
    assert ServiceName("shop", "cart") in VIEW.imports
    assert len(SERVER.zone) == len(AS_IT_WAS)


# --- a name server that we ask ------------------------------------------------------------------

QUESTION: Final = dns.message.make_query("example.com", "A", use_edns=0)
ANSWERS: Final = tuple(
    response.to_wire()
    for response in (
        dns.message.make_response(QUESTION, recursion_available=True),
        dns.message.make_response(dns.message.make_query("example.org", "A")),
    )
)


class Upstreams(asyncio.DatagramProtocol):
    """A name server that says first what it was told to say, and then something true."""

    transport: asyncio.DatagramTransport
    lies = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data[:2] + self.lies[2:], addr)
        self.transport.sendto(data[:2] + ANSWERS[0][2:], addr)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def upstream(runner: asyncio.Runner) -> Iterator[Upstreams]:
    async def begin() -> Upstreams:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(Upstreams, ("127.0.0.1", 0))
        return protocol

    made = runner.run(begin())
    yield made

    async def end() -> None:
        made.transport.close()

    runner.run(end())


@hostile(60)
@given(lies=st.one_of(damaged(ANSWERS), noise(600)))
def test_a_lying_name_server_is_believed_only_what_answers_the_question(
    runner: asyncio.Runner, upstream: Upstreams, lies: bytes
) -> None:
    upstream.lies = lies
    packet = QUESTION.to_wire()
    host, port = upstream.transport.get_extra_info("sockname")[:2]

    async def ask() -> bytes | None:
        return await Forwarder([Upstream(host, port)], timeout=5).ask(packet, parse_query(packet))

    answer = runner.run(ask())
    # What it lies to be cut short is asked for again over TCP, where nobody answers here.
    cut = len(lies) > 2 and lies[2] & 0x02
    assert answer is None if cut and answer is None else answer is not None
    if answer is not None:
        end = HEADER + len("example.com") + 2 + 4
        assert answer[:2] == packet[:2]
        assert answer[HEADER:end].lower() == packet[HEADER:end].lower()
