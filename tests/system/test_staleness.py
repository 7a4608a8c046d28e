"""What callers notice of a cluster whose agent no hub hears of: what its services have asked for."""

import pytest

from federation.demo import seen
from federation.demo.partition import unheard
from tests.system import servers
from tests.system.cluster import CROWD, Cluster, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("outages")]


def is_seen(fed: Federation, at: Cluster, of: Cluster, state: str) -> bool:
    return seen.exporter(fed.fleet, at.site, of.site).get("state") == state


def is_told(fed: Federation, at: Cluster, of: Cluster, policy: str) -> bool:
    contract = seen.exporter(fed.fleet, at.site, of.site).get("staleness")
    return isinstance(contract, dict) and contract.get("policy") == policy


def refused(at: Cluster, of: Cluster) -> bool:
    return not at.caller.who(of.service, CROWD[0])


def test_a_cluster_that_drains_gets_no_new_call_after_its_bound_and_keeps_what_is_open(
    frail: Federation,
) -> None:
    onprem, cloud = frail.clusters
    with cloud.edited() as source:
        for service in source["services"]:
            service["staleness"] = {"policy": "drain", "after": "1s"}
        cloud.write(source)
        until("onprem knows the contract", is_told, frail, onprem, cloud, "drain")
        how = {"name": cloud.service, "port": servers.WHO, "source": CROWD[0]}
        assert onprem.caller.ask(str, "keep", key="open", **how)
        with unheard(frail.fleet, cloud.site):
            until("cloud is out at onprem", is_seen, frail, onprem, cloud, "out")
            until("no new call is taken", refused, onprem, cloud)
            assert onprem.caller.ask(str, "goes_on", key="open")
            assert not refused(cloud, cloud)
        until("cloud is back", is_seen, frail, onprem, cloud, "connected")
        until("calls are taken again", onprem.caller.who, cloud.service, CROWD[0])


def test_a_cluster_that_holds_is_called_all_the_same(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    with unheard(frail.fleet, cloud.site):
        until("cloud is held at onprem", is_seen, frail, onprem, cloud, "held")
        assert not refused(onprem, cloud)
    until("cloud is back", is_seen, frail, onprem, cloud, "connected")
