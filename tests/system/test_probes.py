"""What the hub shows of the clusters' probes of each other, while a gateway dies and comes back."""

import time

import pytest

from federation.client import Admin, endpoint
from federation.commands.answers import items, record
from federation.table import Record
from tests.system.cluster import Cluster, kill, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("outages")]

SOON = 10.0  # seconds; two on a machine with nothing else to do


def seen(fed: Federation, cluster: Cluster) -> list[Record]:
    """What the hub shows of the others' probes of *cluster*."""
    listed = items(Admin(endpoint("hub", str(fed.fleet.hub_state)), 5).get("/v1/clusters")["clusters"])
    (found,) = [record(each) for each in listed if record(each)["name"] == cluster.name]
    return [record(each) for each in items(found["probes"])]


def are(state: str, fed: Federation, cluster: Cluster) -> bool:
    shown = seen(fed, cluster)
    return len(shown) == len(cluster.site.underlay) and {each["state"] for each in shown} == {state}


def test_a_gateway_that_dies_is_shown_as_dead_by_the_others_and_alive_when_it_is_back(
    frail: Federation,
) -> None:
    onprem, cloud = frail.clusters
    until("cloud's gateway is alive for onprem", are, "up", frail, cloud)
    kill(cloud.gateway)
    began = time.monotonic()
    until("it is dead for onprem", are, "down", frail, cloud)
    print(f"the hub knew after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < SOON
    assert {each["from"] for each in seen(frail, cloud)} == {"onprem"}
    cloud.start_gateway()
    until("it is alive again", are, "up", frail, cloud)
    (gateway,) = onprem.gateways().values()
    addresses = {record(each)["address"] for each in items(gateway["probes"])}
    assert len(addresses) == len(onprem.site.underlay) + len(cloud.site.underlay)
