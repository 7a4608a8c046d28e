"""The nouns check themselves: one that exists is valid."""

import pytest

from clusters.errors import InvalidName, InvalidValue
from clusters.model import MAX_ADDRESSES, Export, GatewayRecord, Locality, VipRange, Workload
from clusters.names import ServiceName, cluster_name, host_address
from clusters.services import MAX_PORTS, CallerPattern, LocalService, Port, ServicePort
from tests import builders
from tests.builders import CLOUD, HTTP, ONPREM


@pytest.mark.parametrize("text", ["west", "w", "7", "on-prem-2", "a" * 63])
def test_a_cluster_is_named_by_a_dns_label(text: str) -> None:
    assert cluster_name(text) == text


@pytest.mark.parametrize("text", ["", "West", "-west", "west-", "a.b", "a_b", "a" * 64, "ü", "west\n"])
def test_what_is_no_dns_label_names_nothing(text: str) -> None:
    with pytest.raises(InvalidName):
        cluster_name(text)
    with pytest.raises(InvalidName):
        ServiceName("shop", text)
    with pytest.raises(InvalidName):
        Workload("shop", text)


def test_a_service_is_called_by_its_name_in_the_clusterset() -> None:
    catalog = ServiceName.parse("shop/catalog")
    assert str(catalog) == "shop/catalog"
    assert catalog.authority(8080) == "catalog.shop.svc.clusterset.local:8080"


@pytest.mark.parametrize("text", ["catalog", "/catalog", "shop/", "shop/cat/alog"])
def test_what_is_no_service_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        ServiceName.parse(text)


@pytest.mark.parametrize("number", [0, -1, 65536])
def test_a_port_has_a_number_of_16_bits(number: int) -> None:
    for make in (lambda: Port(number), lambda: ServicePort(HTTP, number)):
        with pytest.raises(InvalidValue):
            make()


@pytest.mark.parametrize("text", ["spiffe://a/ns/b", "spiffe://a/*", "spiffe://a/ns/b/*"])
def test_a_caller_is_an_id_or_the_beginning_of_one(text: str) -> None:
    pattern = CallerPattern(text)
    assert pattern.is_prefix is text.endswith("*")
    assert pattern.literal + "*" * pattern.is_prefix == text


@pytest.mark.parametrize(
    "text",
    ["", "*", "frontend", "https://a/", "spiffe://a/*/b", "spiffe://a/**", "spiffe://*", "spiffe://on*"],
)
def test_no_other_pattern_names_a_caller(text: str) -> None:
    with pytest.raises(InvalidValue):
        CallerPattern(text)


@pytest.mark.parametrize("text", ["\x1b[31mhttp", "http ", "", "h" * 254])
def test_what_other_clusters_are_shown_is_one_word(text: str) -> None:
    with pytest.raises(InvalidValue):
        Port(80, app_protocol=text)
    if text:
        with pytest.raises(InvalidValue):
            Locality("eu", text)


def test_a_service_has_no_more_ports_than_egresses_can_listen_on() -> None:
    ports = tuple(Port(number, f"p{number}") for number in range(1, MAX_PORTS + 2))
    Export(ServiceName("shop", "catalog"), ports[:-1])
    with pytest.raises(InvalidValue, match="257 ports"):
        Export(ServiceName("shop", "catalog"), ports)
    with pytest.raises(InvalidValue, match="257 ports"):
        LocalService(ServiceName("shop", "catalog"), tuple(ServicePort(p, p.number) for p in ports))


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0", "::ffff:10.0.0.1"]
)
def test_what_no_host_can_be_dialled_at_is_no_address_of_one(address: str) -> None:
    with pytest.raises(InvalidValue):
        host_address(address)


def test_a_gateway_has_a_bearable_number_of_addresses() -> None:
    addresses = tuple(f"192.0.2.{n}" for n in range(MAX_ADDRESSES + 1))
    with pytest.raises(InvalidValue, match="more than 64"):
        GatewayRecord("gw", addresses)


def test_addresses_have_one_spelling() -> None:
    assert Workload("shop", "web", ("FD00:0::1", "10.0.0.1")).addresses == ("fd00::1", "10.0.0.1")


@pytest.mark.parametrize("address", ["", "10.0.0", "10.0.0.1/32", "web", "fd00::g"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidValue):
        Workload("shop", "web", (address,))


def test_a_gateway_is_reached_somewhere() -> None:
    with pytest.raises(InvalidValue, match="no addresses"):
        GatewayRecord("gw-1", ())


def test_a_service_has_ports_and_each_once() -> None:
    with pytest.raises(InvalidValue, match="no ports"):
        LocalService(ServiceName("shop", "cart"), ())
    with pytest.raises(InvalidValue, match="share"):
        LocalService(ServiceName("shop", "cart"), (ServicePort(HTTP, 1), ServicePort(HTTP, 2)))


def test_a_vip_is_its_ranges_base_and_an_index() -> None:
    assert VipRange("241.0.0.0/16").address(258) == "241.0.1.2"
    assert VipRange("fd5f::/112").address(10) == "fd5f::a"


@pytest.mark.parametrize("index", [0, -1, 255, 256])
def test_the_ends_of_a_range_and_what_is_outside_are_no_vips(index: int) -> None:
    with pytest.raises(InvalidValue):
        VipRange("241.0.0.0/24").address(index)


def test_place_0_is_no_services() -> None:
    with pytest.raises(InvalidValue, match="VIP index"):
        builders.imported("cart", CLOUD, index=0)


@pytest.mark.parametrize(
    "cidr", ["fd00::1/64", "fe80::%eth0/64", "::ffff:10.0.0.0/112", "ff00::/8", "224.0.0.0/16", "10.0.0.0/33"]
)
def test_a_range_that_workloads_cannot_dial_is_refused(cidr: str) -> None:
    with pytest.raises(InvalidValue, match="VIP range"):
        VipRange(cidr)


def test_ranges_of_one_family_overlap_when_they_share_an_address() -> None:
    assert VipRange("241.0.0.0/16").overlaps(VipRange("241.0.7.0/24"))
    assert not VipRange("241.0.0.0/16").overlaps(VipRange("241.1.0.0/16"))
    assert not VipRange("0.0.0.0/0").overlaps(VipRange("::/0"))


def test_a_service_has_a_vip_in_every_range_that_is_long_enough() -> None:
    world = builders.view(builders.imported("cart", CLOUD, index=70000))
    assert world.vips(next(iter(world.imports.values()))) == ()
    world = builders.view(builders.imported("cart", CLOUD, index=7))
    assert world.vips(next(iter(world.imports.values()))) == ("241.0.0.7", "fd5f:ed:6a7e::7")


def test_who_offers_a_port_are_those_that_have_it() -> None:
    cart = builders.imported("cart", ONPREM, CLOUD)
    assert [offering.cluster for offering in cart.offerings_at(8080)] == [ONPREM, CLOUD]
    assert cart.offerings_at(9090) == ()
