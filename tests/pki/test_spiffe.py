"""SPIFFE IDs: what the specification allows, and nothing else."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import InvalidSpiffeId, InvalidTrustDomain
from pki.spiffe import (
    SpiffeId,
    agent_id,
    cluster_of,
    federation_domain,
    gateway_id,
    hub_id,
    trust_domain_of,
    workload_id,
)

segments = st.text("abcXYZ019._-", min_size=1, max_size=20).filter(lambda s: s not in {".", ".."})
paths = st.lists(segments, max_size=5).map(lambda parts: "".join(f"/{part}" for part in parts))
trust_domains = st.text("abcxyz019._-", min_size=1, max_size=40)


@given(trust_domains, paths)
def test_parse_undoes_format(trust_domain: str, path: str) -> None:
    spiffe_id = SpiffeId(trust_domain, path)
    assert SpiffeId.parse(str(spiffe_id)) == spiffe_id


@given(st.text(max_size=60))
def test_whatever_parses_was_in_normal_form(rest: str) -> None:
    text = f"spiffe://{rest}"
    with contextlib.suppress(InvalidSpiffeId):
        assert str(SpiffeId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fed.example/hub",
        "https://fed.example/hub",
        "SPIFFE://fed.example/hub",
        "spiffe:///hub",
        "spiffe://Fed.example/hub",
        "spiffe://user@fed.example/hub",
        "spiffe://fed.example:443/hub",
        "spiffe://fed.example/",
        "spiffe://fed.example/a//b",
        "spiffe://fed.example/a/",
        "spiffe://fed.example/a/../b",
        "spiffe://fed.example/./b",
        "spiffe://fed.example/a%20b",
        "spiffe://fed.example/a?b",
        "spiffe://fed.example/a#b",
        "spiffe://fed.example?b",
        "spiffe://fed.example/a\n",
        "spiffe://fed.example\n",
        "spiffe://fed.example/ä",
        f"spiffe://{'a' * 256}",
        f"spiffe://a/{'b' * 2048}",
    ],
)
def test_what_the_specification_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId.parse(text)


def test_everybody_has_a_place_below_a_trust_domain() -> None:
    onprem = trust_domain_of("onprem", "fed.example")
    assert str(workload_id(onprem, "shop", "cart")) == "spiffe://onprem.fed.example/ns/shop/sa/cart"
    assert str(gateway_id(onprem, "egress", "gw-1")) == "spiffe://onprem.fed.example/gateway/egress/gw-1"
    assert str(agent_id(onprem)) == "spiffe://onprem.fed.example/agent"
    assert str(hub_id("fed.example")) == "spiffe://fed.example/hub"


def test_a_gateway_has_only_a_role_that_exists() -> None:
    with pytest.raises(InvalidSpiffeId, match="no such gateway role"):
        gateway_id("onprem.fed.example", "ingress/gw-1/ns", "x")


def test_a_name_cannot_add_segments_that_mean_something_else() -> None:
    with pytest.raises(InvalidSpiffeId):
        workload_id("onprem.fed.example", "shop", "../../../agent")


def test_the_cluster_is_found_again_in_its_trust_domain() -> None:
    assert cluster_of(trust_domain_of("onprem", "fed.example"), "fed.example") == "onprem"


@pytest.mark.parametrize(
    "stranger", ["fed.example", "a.b.fed.example", "onprem.fed.example.org", "onpremfed.example"]
)
def test_a_trust_domain_that_is_no_clusters_of_this_federation_is_refused(stranger: str) -> None:
    with pytest.raises(InvalidTrustDomain):
        cluster_of(stranger, "fed.example")


@pytest.mark.parametrize(
    "domain", ["", "Fed.example", "fed..example", ".fed", "fed_x.example", "10.0.0.1", "a" * 64]
)
def test_a_domain_that_no_certificate_can_be_bound_to_is_refused(domain: str) -> None:
    with pytest.raises(InvalidTrustDomain):
        federation_domain(domain)


@pytest.mark.parametrize("cluster", ["", "a.b", "Onprem", "-a", "a" * 64])
def test_a_cluster_whose_name_is_no_dns_label_has_no_trust_domain(cluster: str) -> None:
    with pytest.raises(InvalidTrustDomain):
        trust_domain_of(cluster, "fed.example")
