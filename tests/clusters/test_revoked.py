"""The revoked workloads of a cluster, as others are told of them."""

import pytest

from clusters.errors import InvalidValue
from clusters.revoked import MAX_REVOKED, Revoked, ids, name_of
from pki.spiffe import workload_id

WEB = workload_id("onprem.fed.example", "shop", "web")


def test_an_identity_comes_back_from_its_name_in_the_trust_domain_of_who_told() -> None:
    assert name_of(WEB) == "shop/web"
    assert [*ids("onprem.fed.example", (name_of(WEB),))] == [WEB]
    assert [str(each) for each in ids("cloud.fed.example", ("shop/web",))] == [
        "spiffe://cloud.fed.example/ns/shop/sa/web"
    ]


@pytest.mark.parametrize("name", ["", "web", "shop/", "/web", "shop/web/x", "shop/we b", "shop/..", str(WEB)])
def test_what_is_no_workload_of_the_cluster_cannot_be_said(name: str) -> None:
    with pytest.raises(InvalidValue):
        Revoked("onprem", (name,))


def test_there_is_an_end_to_how_many() -> None:
    Revoked("onprem", tuple(f"shop/w{number}" for number in range(MAX_REVOKED)))
    with pytest.raises(InvalidValue, match="more than 1000"):
        Revoked("onprem", tuple(f"shop/w{number}" for number in range(MAX_REVOKED + 1)))
