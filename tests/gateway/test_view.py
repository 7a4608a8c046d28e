"""Whose an address is, and who can be asked for a service."""

from dataclasses import replace

from clusters.model import GatewayRecord, Import, Locality, Member, Offer, Offering
from clusters.names import ClusterName
from gateway.view import contested, locality, providers, reachable, sources
from tests.builders import CLOUD, HTTP, ONPREM, imported, member, weighted, workload
from tests.gateway.worlds import EDGE


def test_an_address_is_its_only_claimants() -> None:
    frontend, cart = workload("frontend", "10.0.0.1", "10.0.0.2"), workload("cart", "10.0.0.2")
    offer = Offer(workloads=(frontend, cart))
    assert sources(offer) == {"10.0.0.1": frontend}
    assert contested(offer) == {"10.0.0.2": (frontend, cart)}


def test_a_workload_that_is_listed_twice_claims_once() -> None:
    offer = Offer(workloads=(workload("frontend", "10.0.0.1"), workload("frontend", "10.0.0.1", "10.0.0.2")))
    assert sources(offer).keys() == {"10.0.0.1", "10.0.0.2"}
    assert contested(offer) == {}


def test_two_spellings_of_an_address_are_one_address() -> None:
    offer = Offer(workloads=(workload("frontend", "fd00:0::1"), workload("cart", "fd00::0001")))
    assert sources(offer) == {}


def test_home_is_asked_first_and_others_by_name() -> None:
    members = reachable(member(name, "192.0.2.1") for name in (ONPREM, EDGE, CLOUD))
    asked = providers(imported("cart", EDGE, ONPREM, CLOUD), members, ONPREM, HTTP.number)
    assert [m.name for m in asked] == [ONPREM, CLOUD, EDGE]


def placed(name: ClusterName, region: str = "", zone: str = "") -> Member:
    return Member(
        name, f"{name}.x", ("CA",), (GatewayRecord("g", ("192.0.2.1",), 1, Locality(region, zone)),)
    )


FAR, NEAR, NEXT = ClusterName("a-far"), ClusterName("m-near"), ClusterName("z-next")


def order(*clusters: Member, cart: Import | None = None) -> list[str]:
    members = reachable(clusters)
    cart = cart or imported("cart", *members)
    return [m.name for m in providers(cart, members, ONPREM, HTTP.number)]


def test_after_home_come_its_zone_its_region_and_then_all_others_by_name() -> None:
    home, far = placed(ONPREM, "eu", "a"), placed(FAR, "us", "a")
    assert order(home, far, placed(NEAR, "eu", "b"), placed(NEXT, "eu", "a")) == [ONPREM, NEXT, NEAR, FAR]


def test_a_zone_says_nothing_without_a_region_and_an_unknown_one_is_nobodys() -> None:
    assert order(placed(ONPREM), placed(NEXT), placed(FAR)) == [ONPREM, FAR, NEXT]
    assert order(placed(ONPREM, "eu"), placed(NEXT, "eu"), placed(FAR, "eu")) == [ONPREM, FAR, NEXT]


def test_a_cluster_in_two_zones_is_in_its_region_and_in_neither_zone() -> None:
    two = placed(NEXT, "eu", "a")
    two = replace(two, gateways=(*two.gateways, replace(two.gateways[0], locality=Locality("eu", "b"))))
    assert locality(two) == Locality("eu")


def test_a_cluster_that_is_to_have_no_share_is_asked_last_even_at_home() -> None:
    shared = weighted("cart", onprem=0, **{"a-far": 10, "m-near": 90})
    clusters = (placed(ONPREM, "eu"), placed(FAR, "us"), placed(NEAR, "eu"))
    assert order(*clusters, cart=shared) == [NEAR, FAR, ONPREM]


def test_who_is_not_ready_cannot_be_reached_or_has_not_that_port_is_not_asked() -> None:
    members = reachable([member(ONPREM, "192.0.2.1"), member(CLOUD), member(EDGE, "192.0.2.1", anchors=())])
    cart = imported("cart", ONPREM, CLOUD, EDGE)
    assert [m.name for m in providers(cart, members, ONPREM, HTTP.number)] == [ONPREM]
    assert providers(cart, members, ONPREM, 81) == []
    asleep = replace(cart, offerings=(Offering(ONPREM, (HTTP,), 0),))
    assert providers(asleep, members, ONPREM, HTTP.number) == []
