"""Where a service is: priorities and weights of its clusters."""

from collections.abc import Mapping

import pytest

from clusters.names import ClusterName
from gateway import eds, names
from tests.builders import CLOUD, ONPREM, member
from tests.gateway.worlds import EDGE

PROVIDERS = [member(name, "192.0.2.1") for name in (ONPREM, CLOUD, EDGE)]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({}, [(ONPREM, 0, 0), (CLOUD, 1, 0), (EDGE, 2, 0)]),
        ({ONPREM: 10, CLOUD: 90, EDGE: 5}, [(ONPREM, 0, 10), (CLOUD, 0, 90), (EDGE, 0, 5)]),
        ({ONPREM: 10, CLOUD: 90, EDGE: 0}, [(ONPREM, 0, 10), (CLOUD, 0, 90), (EDGE, 1, 0)]),
        ({ONPREM: 0, CLOUD: 90, EDGE: 0}, [(CLOUD, 0, 90), (ONPREM, 1, 0), (EDGE, 2, 0)]),
        ({ONPREM: 0, CLOUD: 0, EDGE: 0}, [(ONPREM, 0, 0), (CLOUD, 1, 0), (EDGE, 2, 0)]),
    ],
    ids=["nearest first", "by weight", "one without a share", "one with all", "nobody with a share"],
)
def test_clusters_share_the_first_priority_by_weight_and_others_have_one_each(
    weights: Mapping[ClusterName, int], shares: list[tuple[str, int, int]]
) -> None:
    made = eds.service("x", "a:80", PROVIDERS, weights)
    told = [
        (e.locality.sub_zone, e.priority, e.lb_endpoints[0].load_balancing_weight.value)
        for e in made.endpoints
    ]
    assert told == shares


def test_each_tunnel_to_a_cluster_is_an_endpoint_and_weights_alone_share_calls_out() -> None:
    count = {ONPREM: 1, CLOUD: 3, EDGE: 2}
    alone = eds.service("x", "a:80", PROVIDERS, {}, lambda m: count[m.name])
    assert [len(e.lb_endpoints) for e in alone.endpoints] == [1, 3, 2]
    ids = [e.endpoint.address.envoy_internal_address.endpoint_id for e in alone.endpoints[1].lb_endpoints]
    assert ids == ["cloud", "cloud#1", "cloud#2"]
    shared = eds.service("x", "a:80", PROVIDERS, {ONPREM: 1, CLOUD: 1, EDGE: 0}, lambda m: count[m.name])
    assert [len(e.lb_endpoints) for e in shared.endpoints] == [3, 3, 2]


def test_whoever_is_chosen_falls_over_to_the_others_in_their_order() -> None:
    made = eds.service("x", "a:80", PROVIDERS, {ONPREM: 1, CLOUD: 1, EDGE: 1})
    ways = [e.lb_endpoints[0].metadata.filter_metadata[names.TUNNEL_METADATA]["way"] for e in made.endpoints]
    assert ways == ["gw|onprem,cloud,edge", "gw|cloud,onprem,edge", "gw|edge,onprem,cloud"]
