"""Whose an address is, and who can be asked for a service."""

from dataclasses import replace

from clusters.model import Offer, Offering
from gateway.view import contested, providers, reachable, sources
from tests.builders import CLOUD, HTTP, ONPREM, imported, member, workload
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


def test_who_is_not_ready_cannot_be_reached_or_has_not_that_port_is_not_asked() -> None:
    members = reachable([member(ONPREM, "192.0.2.1"), member(CLOUD), member(EDGE, "192.0.2.1", anchors=())])
    cart = imported("cart", ONPREM, CLOUD, EDGE)
    assert [m.name for m in providers(cart, members, ONPREM, HTTP.number)] == [ONPREM]
    assert providers(cart, members, ONPREM, 81) == []
    asleep = replace(cart, offerings=(Offering(ONPREM, (HTTP,), 0),))
    assert providers(asleep, members, ONPREM, HTTP.number) == []
