"""A cluster that leaves, and one that comes back."""

import time

import pytest

from tests.system.cluster import CROWD, Cluster, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("outages")]


SOON = 3.0  # seconds; half of one on a machine with nothing else to do


def knows(cluster: Cluster, service: str) -> bool:
    return bool(cluster.caller.resolves(service))


def knows_nothing_of(cluster: Cluster, service: str) -> bool:
    return not knows(cluster, service)


def leads_nowhere(caller: Cluster, address: str) -> bool:
    return not caller.caller.who(address, CROWD[0])


def test_a_cluster_that_leaves_is_gone_at_once_and_comes_back_with_a_new_token(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    vips = {caller: caller.vip(to.service) for caller, to in ((onprem, cloud), (cloud, onprem))}
    done = cloud.fedgate("leave", "--yes", "--agent", str(cloud.state))
    assert (done.returncode, done.stdout) == (0, "cloud has left the clusterset\n")
    began = time.monotonic()
    until("onprem knows nothing of its service", knows_nothing_of, onprem, cloud.service)
    for caller, vip in vips.items():
        until(f"an address that {caller.name} knew leads nowhere", leads_nowhere, caller, vip)
    assert time.monotonic() - began < SOON
    assert cloud.name not in frail.fleet.run_fedgate(
        frail.fleet.world.hub, ["clusters", "-o", "name", "--hub", str(frail.fleet.hub_state)]
    )
    assert cloud.agent.wait(5) == 0

    cloud.join()
    frail.wait_until_connected()
