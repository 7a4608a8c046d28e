"""The specifications of multi-cluster DNS, clause by clause, for services with a ClusterSetIP.

KEP is Kubernetes' KEP-1645 "DNS-Based Multicluster Service Discovery", DNS the "DNS-Based Service Discovery"
that it extends; each test names the clause that it is about. Read by another implementation (dnspython).
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.reversename
import pytest
import pytest_asyncio

from clusters.model import VipRange
from clusters.services import Port, Protocol
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from tests.builders import CLOUD, ONPREM, imported, view
from tests.federation.dns.serving import serving, where

SERVICE: Final = "myservice.shop.svc.clusterset.local."
PORTS: Final = (
    Port(443, "https"),
    Port(53, "dns", Protocol.UDP),
    Port(5060, "voice", Protocol.SCTP),
    Port(8080),
)
HERE: Final = view(imported("myservice", CLOUD, ONPREM, index=5, ports=PORTS))


class Client:
    """A resolver that asks the server over UDP, or over TCP when told that there is more."""

    def __init__(self, server: DnsServer) -> None:
        self._host, self._port = where(server)

    async def send(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to *query*, which dnspython has compared with it."""
        return await dns.asyncquery.udp(query, self._host, port=self._port, timeout=5)

    async def ask(self, name: str, kind: str = "A", rdclass: str = "IN") -> dns.message.Message:
        """The answer to a plain question."""
        return await self.send(dns.message.make_query(name, kind, rdclass))

    async def records(self, name: str, kind: str = "A") -> list[str]:
        """The answer section, as a zone file has it."""
        return [f"{rrset.name} {each}" for rrset in (await self.ask(name, kind)).answer for each in rrset]

    async def rcode(self, name: str, kind: str = "A") -> str:
        """How the answer ends, and with what in it: `NODATA` for a name without such a record."""
        message = await self.ask(name, kind)
        text = dns.rcode.to_text(message.rcode())
        return "NODATA" if text == "NOERROR" and not message.answer else text


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(Zone(HERE)) as server:
        yield Client(server)


# --- KEP 2.1, DNS 2.1: definitions ----------------------------------------------------------------


async def test_comparisons_are_case_insensitive_and_the_question_comes_back_as_asked(client: Client) -> None:
    """DNS 2.1."""
    assert await client.records(SERVICE.upper()) == [f"{SERVICE.upper()} 241.0.0.5"]
    assert await client.records(f"_HTTPS._Tcp.{SERVICE}", "SRV") == [
        f"_HTTPS._Tcp.{SERVICE} 0 100 443 {SERVICE}"
    ]


# --- KEP 2.2: schema version ----------------------------------------------------------------------


async def test_the_version_of_the_schema_is_a_text_record(client: Client) -> None:
    """KEP 2.2: `dns-version.<clustersetzone>. <ttl> IN TXT <schema-version>`, 28800 in its example."""
    message = await client.ask("dns-version.clusterset.local.", "TXT")
    assert message.answer[0].to_text() == 'dns-version.clusterset.local. 28800 IN TXT "1.0.0"'


# --- KEP 2.3.1: A and AAAA ------------------------------------------------------------------------


async def test_a_dual_stack_service_has_an_address_record_of_each_family(client: Client) -> None:
    """KEP 2.3.1."""
    assert await client.records(SERVICE, "A") == [f"{SERVICE} 241.0.0.5"]
    assert await client.records(SERVICE, "AAAA") == [f"{SERVICE} fd5f:ed:6a7e::5"]


# --- KEP 2.3.2: SRV -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "number"), [("_https._tcp", 443), ("_dns._udp", 53), ("_voice._sctp", 5060)]
)
async def test_each_named_port_of_any_protocol_has_a_location(client: Client, port: str, number: int) -> None:
    """KEP 2.3.2: for each port with name, number and protocol. It points to the one name of the service."""
    assert await client.records(f"{port}.{SERVICE}", "SRV") == [f"{port}.{SERVICE} 0 100 {number} {SERVICE}"]


async def test_the_addresses_of_a_location_come_with_it(client: Client) -> None:
    """KEP 2.3.2: "The Additional section of the response may include the Service A/AAAA record"."""
    message = await client.ask(f"_https._tcp.{SERVICE}", "SRV")
    assert [rrset.to_text() for rrset in message.additional] == [
        f"{SERVICE} 5 IN A 241.0.0.5",
        f"{SERVICE} 5 IN AAAA fd5f:ed:6a7e::5",
    ]


@pytest.mark.parametrize("name", ["_8080._tcp", "_._tcp", "_https._udp", "_dns._tcp", "_nope._tcp"])
async def test_an_unnamed_port_and_another_protocol_have_no_location(client: Client, name: str) -> None:
    """KEP 2.3.2: "Unnamed ports do not have an SRV record"."""
    assert await client.rcode(f"{name}.{SERVICE}", "SRV") == "NXDOMAIN"


async def test_a_service_itself_has_no_location_record(client: Client) -> None:
    """KEP 2.3.2 has no record of that form."""
    assert await client.rcode(SERVICE, "SRV") == "NODATA"


# --- KEP 2.3.3: PTR -------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["241.0.0.5", "fd5f:ed:6a7e::5"])
async def test_an_address_of_either_family_points_to_its_service(client: Client, address: str) -> None:
    """KEP 2.3.3."""
    name = dns.reversename.from_address(address).to_text()
    assert await client.records(name, "PTR") == [f"{name} {SERVICE}"]
    assert await client.records(name.upper(), "PTR") == [f"{name.upper()} {SERVICE}"]


# --- KEP 2.3.4: what must not be ------------------------------------------------------------------


@pytest.mark.parametrize("cluster", ["cloud", "onprem"])
@pytest.mark.parametrize("kind", ["A", "AAAA", "SRV"])
async def test_no_name_leads_to_the_backends_of_one_cluster(client: Client, cluster: str, kind: str) -> None:
    """KEP 2.3.4: no `<clusterid>.<svc>.<ns>.svc.<clustersetzone>`."""
    assert await client.rcode(f"{cluster}.{SERVICE}", kind) == "NXDOMAIN"
    assert await client.rcode(f"_https._tcp.{cluster}.{SERVICE}", "SRV") == "NXDOMAIN"


async def test_addresses_have_no_names_made_of_themselves(client: Client) -> None:
    """DNS 2.6 has deprecated `a-b-c-d.NS.pod`, and KEP does not take it over."""
    assert await client.rcode("241-0-0-5.shop.pod.clusterset.local.") == "NXDOMAIN"


# --- what holds for any zone ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "clusterset.local.",
        "svc.clusterset.local.",
        "shop.svc.clusterset.local.",
        f"_tcp.{SERVICE}",
        f"_udp.{SERVICE}",
        f"_sctp.{SERVICE}",
        "dns.clusterset.local.",
        "0.241.in-addr.arpa.",
        "0.0.241.in-addr.arpa.",
    ],
)
async def test_a_name_with_others_below_it_exists(client: Client, name: str) -> None:
    """RFC 8020, RFC 4592 section 2.2.2: an empty non-terminal is no NXDOMAIN."""
    assert await client.rcode(name, "A") == "NODATA"


@pytest.mark.parametrize(
    ("name", "apex"),
    [
        (f"nope.{SERVICE}", "clusterset.local."),
        ("nope.shop.svc.clusterset.local.", "clusterset.local."),
        (SERVICE, "clusterset.local."),
        ("6.0.0.241.in-addr.arpa.", "0.241.in-addr.arpa."),
        ("5.0.0.241.in-addr.arpa.", "0.241.in-addr.arpa."),
    ],
)
async def test_a_negative_answer_says_how_long_to_remember_it(client: Client, name: str, apex: str) -> None:
    """RFC 2308: the SOA of the zone that the name is in, its minimum and TTL the time."""
    message = await client.ask(name, "MX")
    (rrset,) = message.authority
    (soa,) = rrset
    assert (str(rrset.name), rrset.ttl, soa.minimum) == (apex, 5, 5)
    assert message.flags & dns.flags.AA


@pytest.mark.parametrize("apex", ["clusterset.local.", "0.241.in-addr.arpa."])
async def test_a_zone_has_a_start_and_a_name_server(client: Client, apex: str) -> None:
    """RFC 1034 section 4.2.1."""
    soa = "ns.dns.clusterset.local. hostmaster.clusterset.local. 1 7200 1800 86400 5"
    assert await client.records(apex, "SOA") == [f"{apex} {soa}"]
    assert await client.records(apex, "NS") == [f"{apex} ns.dns.clusterset.local."]


async def test_the_name_server_has_an_address_where_it_is_known_and_on_port_53() -> None:
    zone = Zone(HERE)
    zone.served_at(["10.0.0.1", "fd00::1"])
    async with serving(zone) as server:
        client = Client(server)
        assert await client.records("ns.dns.clusterset.local.", "A") == ["ns.dns.clusterset.local. 10.0.0.1"]
        assert await client.records("ns.dns.clusterset.local.", "AAAA") == [
            "ns.dns.clusterset.local. fd00::1"
        ]


async def test_on_another_port_the_name_server_has_no_address(client: Client) -> None:
    assert await client.rcode("ns.dns.clusterset.local.", "A") == "NODATA"


# --- what holds for any name server ---------------------------------------------------------------


async def test_any_is_answered_with_one_kind_of_record(client: Client) -> None:
    """RFC 8482 section 4.1."""
    assert await client.records(SERVICE, "ANY") == [f"{SERVICE} 241.0.0.5"]
    assert len(await client.records("5.0.0.241.in-addr.arpa.", "ANY")) == 1


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
@pytest.mark.parametrize("name", ["clusterset.local.", "0.241.in-addr.arpa.", "example.com."])
async def test_no_zone_is_transferred(client: Client, name: str, kind: str) -> None:
    """RFC 5936 section 2.2.1: REFUSED to whoever may not."""
    query = dns.message.make_query(name, "A")
    query.question[0].rdtype = dns.rdatatype.from_text(kind)
    assert dns.rcode.to_text((await client.send(query)).rcode()) == "REFUSED"


@pytest.mark.parametrize("rdclass", ["CH", "HS", "ANY"])
async def test_other_classes_than_internet_are_refused(client: Client, rdclass: str) -> None:
    """A name of ours in another class is another name, and ANY's answer could not be authoritative."""
    message = await client.ask(SERVICE, "A", rdclass)
    assert (dns.rcode.to_text(message.rcode()), message.flags & dns.flags.AA) == ("REFUSED", 0)


@pytest.mark.parametrize("opcode", [dns.opcode.IQUERY, dns.opcode.STATUS, dns.opcode.NOTIFY, 3, 15])
async def test_other_operations_than_queries_are_not_implemented(client: Client, opcode: int) -> None:
    """RFC 1035 section 4.1.1."""
    query = dns.message.make_query(SERVICE, "A")
    query.flags = opcode << 11
    message = await client.send(query)
    assert (dns.rcode.to_text(message.rcode()), int(message.opcode())) == ("NOTIMP", opcode)


@pytest.mark.parametrize("questions", [0, 2])
async def test_other_than_one_question_is_malformed(client: Client, questions: int) -> None:
    """RFC 9619: a query has exactly one."""
    query = dns.message.make_query(SERVICE, "A")
    query.question *= questions
    assert dns.rcode.to_text((await client.send(query)).rcode()) == "FORMERR"


async def test_an_unknown_version_of_edns_is_answered_with_the_question_and_ours(client: Client) -> None:
    """RFC 6891 section 6.1.3; without the question, resolvers take it for no answer to theirs."""
    message = await client.send(dns.message.make_query(SERVICE, "A", use_edns=1))
    assert (message.rcode(), message.edns, message.answer) == (dns.rcode.BADVERS, 0, [])


async def test_unknown_flags_and_options_of_edns_are_passed_over(client: Client) -> None:
    """RFC 6891 sections 6.1.2 and 6.1.4: ignored, and not echoed."""
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"whatever")
    query = dns.message.make_query(SERVICE, "A", use_edns=0, ednsflags=0x40, options=[option])
    message = await client.send(query)
    assert (len(message.answer), message.ednsflags, message.options) == (1, 0, ())


@pytest.mark.parametrize("count", [20, 60])
async def test_what_is_additional_is_left_out_before_anything_else(count: int) -> None:
    """RFC 2181 section 9: TC is for what is missed; addresses that come unasked are not."""
    zone = Zone(replace(HERE, vip_ranges=tuple(VipRange(f"10.{i}.0.0/16") for i in range(count))))
    async with serving(zone) as server:
        client = Client(server)
        message = await client.ask(f"_https._tcp.{SERVICE}", "SRV")
        assert (len(message.answer), len(message.additional)) == (1, 0 if count == 60 else 1)
        assert not message.flags & dns.flags.TC
        assert (await client.ask(SERVICE, "A")).flags & dns.flags.TC == (dns.flags.TC if count == 60 else 0)
        host, port = where(server)
        query = dns.message.make_query(f"_https._tcp.{SERVICE}", "SRV")
        whole = await dns.asyncquery.tcp(query, host, port=port, timeout=5)
        assert len(whole.additional[0]) == count
