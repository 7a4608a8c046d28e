"""What the names of the clusterset answer, read by another implementation (dnspython)."""

from dataclasses import replace

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.model import ClusterView, Import, VipRange
from clusters.names import ServiceName
from clusters.services import Port, Protocol
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from tests.builders import CLOUD, HTTP, ONPREM, imported, view

CATALOG = "catalog.shop.svc.clusterset.local."
SOA = "ns.dns.clusterset.local. hostmaster.clusterset.local. 1 7200 1800 86400 5"


def ask(zone: Zone, name: str, kind: str = "A", rdclass: str = "IN") -> dns.message.Message:
    """Ask as a client does, over UDP."""
    query = dns.message.make_query(name, kind, rdclass)
    response = DnsServer([], zone, None).respond(query.to_wire())
    assert isinstance(response, bytes)
    message = dns.message.from_wire(response)
    assert query.is_response(message)
    return message


def data(message: dns.message.Message) -> list[str]:
    return [str(record) for rrset in message.answer for record in rrset]


def rcode(message: dns.message.Message) -> str:
    return dns.rcode.to_text(message.rcode())


@pytest.fixture
def zone() -> Zone:
    return Zone(view(imported("catalog", CLOUD, index=5), imported("cart", ONPREM, index=6)))


def test_a_service_has_the_address_of_each_family(zone: Zone) -> None:
    assert data(ask(zone, CATALOG, "A")) == ["241.0.0.5"]
    assert data(ask(zone, CATALOG, "AAAA")) == ["fd5f:ed:6a7e::5"]


def test_answers_live_five_seconds(zone: Zone) -> None:
    assert ask(zone, CATALOG).answer[0].ttl == 5


def test_answers_are_authoritative_and_offer_no_recursion(zone: Zone) -> None:
    flags = ask(zone, CATALOG).flags
    assert flags & dns.flags.AA
    assert flags & dns.flags.RD
    assert not flags & dns.flags.RA


def test_case_does_not_matter_and_is_kept(zone: Zone) -> None:
    asked = dns.name.from_text("CaTaLoG.shop.SVC.ClusterSet.local.")
    answer = ask(zone, asked.to_text())
    assert answer.question[0].name.labels == asked.labels
    assert answer.answer[0].name.labels == asked.labels
    assert data(answer) == ["241.0.0.5"]


@pytest.mark.parametrize(
    "name",
    [
        "nope.shop.svc.clusterset.local.",
        "catalog.nope.svc.clusterset.local.",
        "x.catalog.shop.svc.clusterset.local.",
        "cloud.catalog.shop.svc.clusterset.local.",
        "catalog.shop.clusterset.local.",
        "nope.clusterset.local.",
    ],
)
def test_an_unknown_name_does_not_exist(zone: Zone, name: str) -> None:
    answer = ask(zone, name)
    assert rcode(answer) == "NXDOMAIN"
    assert answer.flags & dns.flags.AA
    (authority,) = answer.authority
    assert (str(authority.name), str(authority[0])) == ("clusterset.local.", SOA)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (CATALOG, "MX"),
        (CATALOG, "TXT"),
        ("clusterset.local.", "A"),
        ("svc.clusterset.local.", "A"),
        ("shop.svc.clusterset.local.", "A"),
        ("_tcp.catalog.shop.svc.clusterset.local.", "SRV"),
        ("dns-version.clusterset.local.", "A"),
    ],
)
def test_a_known_name_without_such_a_record_is_not_an_error(zone: Zone, name: str, kind: str) -> None:
    answer = ask(zone, name, kind)
    assert rcode(answer) == "NOERROR"
    assert data(answer) == []
    assert str(answer.authority[0][0]) == SOA


def test_a_family_without_a_range_is_a_missing_record_and_not_a_missing_name() -> None:
    only_v4 = replace(view(imported("catalog", CLOUD)), vip_ranges=(VipRange("241.0.0.0/16"),))
    answer = ask(Zone(only_v4), CATALOG, "AAAA")
    assert (rcode(answer), data(answer)) == ("NOERROR", [])


def test_a_service_beyond_every_range_exists_without_an_address() -> None:
    short = replace(view(imported("catalog", CLOUD, index=500)), vip_ranges=(VipRange("241.0.0.0/28"),))
    answer = ask(Zone(short), CATALOG)
    assert (rcode(answer), data(answer)) == ("NOERROR", [])


def test_the_version_of_the_schema_is_told(zone: Zone) -> None:
    answer = ask(zone, "dns-version.clusterset.local.", "TXT")
    assert data(answer) == ['"1.0.0"']
    assert answer.answer[0].ttl == 28800


def test_the_start_of_authority_is_told(zone: Zone) -> None:
    assert data(ask(zone, "clusterset.local.", "SOA")) == [SOA]


def test_each_named_port_is_located_also_one_that_is_not_carried() -> None:
    ports = (HTTP, Port(53, "dns", Protocol.UDP), Port(9090, "metrics"))
    zone = Zone(view(imported("catalog", CLOUD, ports=ports)))
    assert data(ask(zone, f"_http._tcp.{CATALOG}", "SRV")) == [f"0 100 8080 {CATALOG}"]
    assert data(ask(zone, f"_DNS._udp.{CATALOG}", "SRV")) == [f"0 100 53 {CATALOG}"]
    assert rcode(ask(zone, f"_dns._tcp.{CATALOG}", "SRV")) == "NXDOMAIN"


def test_an_unnamed_port_and_one_with_a_name_too_long_have_no_location() -> None:
    zone = Zone(view(imported("catalog", CLOUD, ports=(Port(80), Port(81, "a" * 63)))))
    assert data(ask(zone, CATALOG)) == ["241.0.0.1"]
    assert rcode(ask(zone, f"_tcp.{CATALOG}", "SRV")) == "NXDOMAIN"


@pytest.mark.parametrize("address", ["241.0.0.5", "fd5f:ed:6a7e::5"])
def test_an_address_points_back_to_its_service(zone: Zone, address: str) -> None:
    assert data(ask(zone, dns.reversename.from_address(address).to_text(), "PTR")) == [CATALOG]


@pytest.mark.parametrize(
    ("address", "apex"),
    [
        ("241.0.0.7", "0.241.in-addr.arpa."),
        ("fd5f:ed:6a7e::7", "0." * 16 + "e.7.a.6.d.e.0.0.f.5.d.f.ip6.arpa."),
    ],
)
def test_a_vip_of_nobody_does_not_exist_and_is_asked_of_no_one_else(
    zone: Zone, address: str, apex: str
) -> None:
    answer = ask(zone, dns.reversename.from_address(address).to_text(), "PTR")
    assert (rcode(answer), str(answer.authority[0].name)) == ("NXDOMAIN", apex)


def test_an_address_of_others_is_none_of_our_names(zone: Zone) -> None:
    assert rcode(ask(zone, "7.0.1.241.in-addr.arpa.", "PTR")) == "REFUSED"


@pytest.mark.parametrize(
    ("cidr", "inside", "outside"),
    [
        ("10.96.0.0/12", ["10.96.0.9", "10.111.255.9"], ["10.95.0.9", "10.112.0.9"]),
        ("192.0.2.16/28", ["192.0.2.16", "192.0.2.31"], ["192.0.2.15", "192.0.2.32"]),
        ("fd00::/63", ["fd00::9", "fd00:0:0:1::9"], ["fd00:0:0:2::9"]),
    ],
)
def test_a_range_is_ours_in_reverse_exactly(cidr: str, inside: list[str], outside: list[str]) -> None:
    zone = Zone(replace(view(imported("catalog", CLOUD)), vip_ranges=(VipRange(cidr),)))

    def asked(address: str) -> str:
        return rcode(ask(zone, dns.reversename.from_address(address).to_text(), "PTR"))

    assert "REFUSED" not in {asked(address) for address in inside}
    assert {asked(address) for address in outside} == {"REFUSED"}


def test_names_between_a_pointer_and_its_zone_exist_as_long_as_it_does(zone: Zone) -> None:
    between = "0.0.241.in-addr.arpa."
    assert rcode(ask(zone, between, "PTR")) == "NOERROR"
    assert rcode(ask(zone, "1.0.241.in-addr.arpa.", "PTR")) == "NXDOMAIN"
    zone.update(view(), [ServiceName("shop", "catalog"), ServiceName("shop", "cart")])
    assert rcode(ask(zone, between, "PTR")) == "NXDOMAIN"


def test_an_address_that_callers_are_not_told_of_points_back_all_the_same(zone: Zone) -> None:
    """A gateway that drains has open connections, which people look at."""
    world = view(imported("catalog", CLOUD, index=5))
    zone.update(world, [], led=world.vip_ranges[1:])
    assert data(ask(zone, CATALOG, "A")) == []
    assert data(ask(zone, CATALOG, "AAAA")) == ["fd5f:ed:6a7e::5"]
    assert data(ask(zone, "5.0.0.241.in-addr.arpa.", "PTR")) == [CATALOG]


@pytest.mark.parametrize(
    "name",
    [
        "example.com.",
        "local.",
        ".",
        "xclusterset.local.",
        "a\\010clusterset\\005local.",
        "clusterset.local.com.",
    ],
)
def test_foreign_names_are_refused_without_authority(zone: Zone, name: str) -> None:
    answer = ask(zone, name)
    assert rcode(answer) == "REFUSED"
    assert not answer.flags & dns.flags.AA


def test_another_class_and_a_transfer_are_refused(zone: Zone) -> None:
    for answer in (ask(zone, CATALOG, rdclass="CH"), ask(zone, "clusterset.local.", "AXFR")):
        assert rcode(answer) == "REFUSED"
        assert not answer.flags & dns.flags.AA


def test_asking_for_anything_gives_one_kind_of_record(zone: Zone) -> None:
    assert data(ask(zone, CATALOG, "ANY")) == ["241.0.0.5"]
    assert data(ask(zone, "svc.clusterset.local.", "ANY")) == []


def test_a_service_that_is_withdrawn_is_gone_with_its_namespace() -> None:
    zone = Zone(view(imported("catalog", CLOUD)))
    zone.update(view(), [ServiceName("shop", "catalog")])
    assert rcode(ask(zone, CATALOG)) == "NXDOMAIN"
    assert rcode(ask(zone, "shop.svc.clusterset.local.")) == "NXDOMAIN"
    assert zone == Zone(view())


def test_a_namespace_lives_as_long_as_a_service_of_it() -> None:
    cart = imported("cart", CLOUD, index=2)
    zone = Zone(view(imported("catalog", CLOUD), cart))
    zone.update(view(cart), [ServiceName("shop", "catalog")])
    assert rcode(ask(zone, "shop.svc.clusterset.local.")) == "NOERROR"


def test_other_ranges_give_every_service_another_address(zone: Zone) -> None:
    both = (imported("catalog", CLOUD, index=5), imported("cart", ONPREM, index=6))
    moved = replace(view(*both), vip_ranges=(VipRange("10.96.0.0/12"),))
    zone.update(moved, [])
    assert data(ask(zone, CATALOG)) == ["10.96.0.5"]
    assert data(ask(zone, CATALOG, "AAAA")) == []
    assert zone == Zone(moved)


@pytest.mark.parametrize("order", [("cart", "catalog"), ("catalog", "cart")])
def test_a_place_that_goes_to_another_service_points_to_that_one(order: tuple[str, str]) -> None:
    zone = Zone(view(imported("cart", CLOUD, index=5)))
    zone.update(view(imported("catalog", CLOUD, index=5)), [ServiceName("shop", name) for name in order])
    assert data(ask(zone, "5.0.0.241.in-addr.arpa.", "PTR")) == [CATALOG]


def test_two_services_at_one_place_do_no_harm() -> None:
    both = view(imported("cart", CLOUD, index=5), imported("catalog", CLOUD, index=5))
    zone = Zone(both)
    zone.update(view(), both.imports)
    assert zone == Zone(view())


def _imports(index: int) -> st.SearchStrategy[Import | None]:
    ports = st.sampled_from([(HTTP,), (HTTP, Port(53, "dns", Protocol.UDP)), (Port(80),)])
    here = st.builds(
        lambda p, shift: imported(f"s{index}", CLOUD, index=index + shift, ports=p),
        ports,
        st.sampled_from([0, 10]),
    )
    return st.none() | here


WORLDS = st.tuples(*(_imports(index) for index in range(1, 5)))


def _view(world: tuple[Import | None, ...]) -> ClusterView:
    return view(*(each for each in world if each))


@given(st.lists(WORLDS, min_size=1, max_size=5))
def test_updating_service_by_service_equals_building_anew(worlds: list[tuple[Import | None, ...]]) -> None:
    zone = Zone()
    before = _view(())
    for after in map(_view, worlds):
        services = before.imports.keys() | after.imports.keys()
        zone.update(after, [s for s in services if before.imports.get(s) != after.imports.get(s)])
        before = after
    assert zone == Zone(before)
