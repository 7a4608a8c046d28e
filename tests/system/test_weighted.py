"""Calls that the owners of a service want shared out between clusters, from source file to caller."""

import pytest

from federation.client import Admin, endpoint
from federation.commands.answers import items, record
from tests.system.cluster import until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]

CALLS = 24


def answered(fed: Federation) -> set[str]:
    """Who answers calls from onprem to the service of cloud."""
    cloud = fed.cloud
    how = {"name": cloud.service, "port": cloud.site.ports.tcp}
    return {fed.onprem.caller.ask(list[str], "sample", kind="tcp", **how)[0] for _ in range(CALLS)}


def shown(fed: Federation) -> tuple[object, object, object]:
    """Policy, weights and conflict of cloud's service, as the hub shows them."""
    listed = map(
        record, items(Admin(endpoint("hub", str(fed.fleet.hub_state)), 5).get("/v1/services")["services"])
    )
    (found,) = [each for each in listed if each["dns_name"] == fed.cloud.service]
    weights = {each["name"]: each["weight"] for each in map(record, items(found["clusters"]))}
    return found["policy"], weights, found["conflict"]


def test_what_two_source_files_say_of_traffic_is_what_callers_get(fed: Federation) -> None:
    onprem, cloud = fed.clusters
    theirs, ours = cloud.site.answers_as, onprem.site.answers_as
    with onprem.edited() as here, cloud.edited() as there:
        also = {**there["services"][0], "endpoints": list(onprem.site.endpoints)}
        here["services"].append(also)
        onprem.write(here)
        until("calls stay at home", lambda: answered(fed) == {ours})
        assert shown(fed)[0] == "Failover"

        there["services"][0]["traffic"] = {"policy": "Weighted", "weight": 50}
        cloud.write(there)
        said = "exporters disagree, the oldest wins: cloud wants Weighted, onprem wants Failover"
        until("both policies are known", lambda: shown(fed)[2] == said)

        also["traffic"] = {"policy": "Weighted", "weight": 40}
        onprem.write(here)
        until("they agree", lambda: shown(fed) == ("Weighted", {"cloud": 50, "onprem": 40}, ""))
        until("both are called", lambda: answered(fed) == {theirs, ours})
    until("all is as before", lambda: answered(fed) == {theirs})
