"""The name server on real sockets, asked by another implementation (dnspython)."""

import asyncio
import socket
from collections.abc import Iterator

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.model import VipRange
from federation.dns.forward import Forwarder, Upstream
from federation.dns.message import Query
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from federation.errors import CannotListen
from tests.builders import CLOUD, imported, view
from tests.federation.dns.serving import serving, where
from tests.federation.dns.upstream import address, upstream

CATALOG = "catalog.shop.svc.clusterset.local."
EVERYWHERE = ["127.0.0.1:0", "[::1]:0"]


async def ask(
    server: DnsServer, name: str = CATALOG, *, tcp: bool = False, at: str = ""
) -> dns.message.Message:
    host, port = where(server)
    over = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await over(dns.message.make_query(name, "A"), at or host, port=port, timeout=5)


def data(message: dns.message.Message) -> list[str]:
    return [str(record) for rrset in message.answer for record in rrset]


@pytest.fixture
def many() -> Zone:
    """A service with forty addresses, too many for a plain UDP answer."""
    ranges = tuple(VipRange(f"10.{i}.0.0/16") for i in range(40))
    world = view(imported("catalog", CLOUD))
    return Zone(type(world)(world.home, world.federation, ranges, imports=world.imports))


@pytest.mark.parametrize("listen", EVERYWHERE)
@pytest.mark.parametrize("tcp", [False, True])
async def test_names_are_answered_over_both_families_and_protocols(listen: str, tcp: bool) -> None:
    async with serving(listen=listen) as server:
        assert data(await ask(server, tcp=tcp)) == ["241.0.0.1"]
        assert server.tally["answered"] == 1


@pytest.mark.parametrize(("listen", "asked"), [("0.0.0.0:0", "127.0.0.77"), ("[::]:0", "::1")])
async def test_a_reply_comes_from_the_address_that_was_asked(listen: str, asked: str) -> None:
    """dnspython takes no answer from another address, as every resolver."""
    async with serving(listen=listen) as server:
        assert data(await ask(server, at=asked)) == ["241.0.0.1"]


async def test_a_long_answer_is_truncated_over_udp_and_whole_over_tcp(many: Zone) -> None:
    async with serving(many) as server:
        short = await ask(server)
        assert short.flags & dns.flags.TC
        assert not short.answer
        assert len(data(await ask(server, tcp=True))) == 40


async def test_a_client_with_edns_gets_a_longer_answer_over_udp(many: Zone) -> None:
    async with serving(many) as server:
        host, port = where(server)
        query = dns.message.make_query(CATALOG, "A", use_edns=0, payload=1232)
        assert len(data(await dns.asyncquery.udp(query, host, port=port, timeout=5))) == 40


async def test_an_updated_zone_is_answered_at_once() -> None:
    zone = Zone()
    async with serving(zone) as server:
        assert (await ask(server)).rcode() == dns.rcode.NXDOMAIN
        world = view(imported("catalog", CLOUD))
        zone.update(world, world.imports)
        assert data(await ask(server)) == ["241.0.0.1"]


async def test_questions_on_one_connection_are_answered_in_turn() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*where(server))
        queries = [dns.message.make_query(CATALOG, "A", id=number) for number in range(3)]
        for query in queries:
            writer.write(len(query.to_wire()).to_bytes(2) + query.to_wire())
        for query in queries:
            size = int.from_bytes(await reader.readexactly(2))
            assert query.is_response(dns.message.from_wire(await reader.readexactly(size)))
        writer.close()


async def test_a_question_that_comes_in_pieces_is_answered_when_it_is_whole() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*where(server))
        query = dns.message.make_query(CATALOG, "A")
        sent = len(query.to_wire()).to_bytes(2) + query.to_wire()
        for piece in (sent[:1], sent[1:2], sent[2:20], sent[20:-1], sent[-1:]):
            writer.write(piece)
            await ask(server)  # by the time that another is answered, the piece was read
        size = int.from_bytes(await reader.readexactly(2))
        assert query.is_response(dns.message.from_wire(await reader.readexactly(size)))
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0", b"\0\5abc", b"\0\3abc", b"\xff\xff"])
async def test_a_broken_connection_is_closed_and_harms_nobody(sent: bytes) -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*where(server))
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert data(await ask(server, tcp=True)) == ["241.0.0.1"]


async def test_rubbish_datagrams_are_dropped_and_harm_nobody() -> None:
    async with serving() as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for rubbish in (b"", b"x", bytes(12), b"\xff" * 600, bytes(20000)):
                client.sendto(rubbish, where(server))
        assert data(await ask(server)) == ["241.0.0.1"]


async def test_foreign_names_are_refused_without_a_forwarder() -> None:
    async with serving() as server:
        response = await ask(server, "example.com.")
        assert response.rcode() == dns.rcode.REFUSED
        assert not response.flags & (dns.flags.RA | dns.flags.AA)


@pytest.mark.parametrize("tcp", [False, True])
async def test_foreign_names_are_forwarded_and_our_own_never(tcp: bool) -> None:
    async with upstream(lambda q: [address(q, "192.0.2.1")]) as fake:
        forwarder = Forwarder([Upstream(*fake.address)])
        async with serving(forwarder=forwarder) as server:
            assert data(await ask(server, "example.com.", tcp=tcp)) == ["192.0.2.1"]
            assert (await ask(server, "nope.svc.clusterset.local.", tcp=tcp)).rcode() == dns.rcode.NXDOMAIN
            assert (await ask(server, tcp=tcp)).flags & dns.flags.RA
            assert len(fake.seen) == 1


async def test_a_long_foreign_answer_is_truncated_for_udp_only() -> None:
    addresses = {f"192.0.2.{i}" for i in range(1, 100)}
    async with (
        upstream(lambda q: [address(q, *addresses)]) as fake,
        serving(forwarder=Forwarder([Upstream(*fake.address)])) as server,
    ):
        short = await ask(server, "example.com.")
        assert short.flags & dns.flags.TC
        assert not short.answer
        assert set(data(await ask(server, "example.com.", tcp=True))) == addresses


async def test_a_client_is_told_when_no_upstream_answers() -> None:
    async with upstream(lambda _: []) as silent:
        forwarder = Forwarder([Upstream(*silent.address)], timeout=0.05)
        async with serving(forwarder=forwarder) as server:
            assert (await ask(server, "example.com.")).rcode() == dns.rcode.SERVFAIL
            assert server.tally["failed"] == 1


async def test_an_address_that_is_taken_is_told_and_nothing_stays_bound() -> None:
    first = DnsServer.bind(["127.0.0.1:0"], Zone())
    with pytest.raises(CannotListen, match=r"cannot listen on 127\.0\.0\.1:") as refused:
        DnsServer.bind(["127.0.0.1:0", first.addresses[0]], Zone())
    assert "another name server" in refused.value.hint
    await _stopped(first)
    again = DnsServer.bind(first.addresses, Zone())
    await _stopped(again)


async def _stopped(server: DnsServer) -> None:
    task = asyncio.create_task(server.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("listen", "told"), [("dns.example:53", "not an IP address"), ("192.0.2.1:0", "Cannot assign")]
)
def test_an_address_that_is_not_ours_is_told(listen: str, told: str) -> None:
    with pytest.raises(CannotListen, match=told):
        DnsServer.bind([listen], Zone())


async def test_open_connections_end_with_the_server() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*where(server))
        await ask(server, tcp=True)
    assert await reader.read() == b""
    writer.close()


def _names() -> Iterator[bytes]:
    for name in (CATALOG, "clusterset.local.", "1.0.0.241.in-addr.arpa.", "example.com."):
        yield dns.message.make_query(name, "A", use_edns=0).to_wire()


@given(
    st.sampled_from(list(_names())), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), max_size=6)
)
def test_a_damaged_query_is_answered_or_dropped(wire: bytes, damage: list[tuple[int, int]]) -> None:
    packet = bytearray(wire)
    for at, byte in damage:
        packet[at % len(packet)] = byte
    server = DnsServer([], Zone(view(imported("catalog", CLOUD))), None)
    response = server.respond(bytes(packet))
    assert not isinstance(response, Query)
    assert response is None or (response[:2] == packet[:2] and response[2] & 0x80 and len(response) <= 1232)


@given(st.binary(max_size=100))
def test_any_packet_is_answered_or_dropped(packet: bytes) -> None:
    server = DnsServer([], Zone(), None)
    assert server.respond(packet) is None or len(packet) >= 12
