"""What the gateways of a cluster are given, and when it changes."""

from datetime import datetime, timedelta

import pytest

from clusters.model import ClusterView, Workload
from federation.programming import MAX_GATEWAYS, Programmes
from federation.svids import Svids
from gateway.delta import Catalogue
from gateway.errors import GatewayRefused
from gateway.kinds import LISTENER, ROUTE, SECRET
from gateway.spec import GatewaySpec, Role
from tests import builders
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, ONPREM

BOTH = GatewaySpec("gw-1", frozenset(Role))
INGRESS = GatewaySpec("in-1", frozenset({Role.INGRESS}))
EGRESS = GatewaySpec("out-1", frozenset({Role.EGRESS}))
WEB = builders.workload("web", "10.0.0.7")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def view(*workloads: Workload) -> ClusterView:
    members = (builders.member(ONPREM, "192.0.2.1"), builders.member(CLOUD, "192.0.2.2"))
    cart = builders.local_service("cart", "10.0.0.1")
    imported = builders.imported("cart", ONPREM, CLOUD)
    return builders.view(imported, members=members, services=(cart,), workloads=workloads)


@pytest.fixture(scope="module")
def pki() -> Authorities:
    return Authorities()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def programmes(pki: Authorities, clock: Clock) -> Programmes:
    return Programmes(view(WEB), "onprem.fed.example", Svids(pki.issuing_ca("onprem")), clock)


def secrets(catalogue: Catalogue) -> set[str]:
    return {name for name in catalogue.names(SECRET) if not name.startswith("anchors|")}


def test_an_egress_has_the_secrets_of_its_sources_and_an_ingress_has_none(programmes: Programmes) -> None:
    assert secrets(programmes.catalogue_of(EGRESS)) == {"src/10.0.0.7", "gateway/egress"}
    assert secrets(programmes.catalogue_of(INGRESS)) == {"gateway/ingress"}


def test_an_address_of_two_workloads_has_no_secret(programmes: Programmes) -> None:
    catalogue = programmes.catalogue_of(EGRESS)
    programmes.follow(view(WEB, builders.workload("posing", "10.0.0.7", "10.0.0.8")))
    assert secrets(catalogue) == {"src/10.0.0.8", "gateway/egress"}


def test_a_workload_that_goes_takes_its_secret_with_it(programmes: Programmes) -> None:
    catalogue = programmes.catalogue_of(EGRESS)
    programmes.follow(view())
    assert secrets(catalogue) == {"gateway/egress"}


def test_only_what_changed_is_pushed(programmes: Programmes) -> None:
    catalogue = programmes.catalogue_of(BOTH)
    pushed: list[tuple[str, frozenset[str]]] = []
    catalogue.listen(lambda kind, names: pushed.append((kind, frozenset(names))))
    programmes.follow(view(WEB))
    assert pushed == []
    programmes.follow(view(WEB, builders.workload("api", "10.0.0.9")))
    assert (SECRET, frozenset({"src/10.0.0.9"})) in pushed
    assert (ROUTE, frozenset({"http"})) in pushed
    assert {kind for kind, _ in pushed} == {SECRET, LISTENER, ROUTE}


def test_renewal_pushes_new_certificates_under_the_same_names(programmes: Programmes, clock: Clock) -> None:
    catalogue = programmes.catalogue_of(EGRESS)
    before = catalogue.get(SECRET, "src/10.0.0.7")
    clock.now += timedelta(minutes=40)
    programmes.renew()
    after = catalogue.get(SECRET, "src/10.0.0.7")
    assert before
    assert after
    assert before.version != after.version


def test_a_gateway_that_comes_back_has_the_catalogue_that_it_had(programmes: Programmes) -> None:
    assert programmes.catalogue_of(BOTH) is programmes.catalogue_of(BOTH)


def test_a_gateway_with_another_description_starts_afresh(programmes: Programmes) -> None:
    former = programmes.catalogue_of(GatewaySpec("gw-1", frozenset(Role), ingress_port=15009))
    assert programmes.catalogue_of(BOTH) is not former


def test_a_gateway_of_the_same_name_in_another_role_takes_nothing_over(
    programmes: Programmes, clock: Clock
) -> None:
    catalogue = programmes.catalogue_of(BOTH)
    before = catalogue.get(SECRET, "src/10.0.0.7")
    programmes.catalogue_of(GatewaySpec(BOTH.name, frozenset({Role.INGRESS})))
    clock.now += timedelta(minutes=40)
    programmes.renew()
    assert catalogue.get(SECRET, "src/10.0.0.7") != before


def test_there_is_an_end_to_how_many_gateways_are_remembered(programmes: Programmes) -> None:
    for number in range(MAX_GATEWAYS):
        programmes.catalogue_of(GatewaySpec(f"gw-{number}", frozenset(Role)))
    with pytest.raises(GatewayRefused, match="64 gateways"):
        programmes.catalogue_of(GatewaySpec("one-more", frozenset(Role)))
