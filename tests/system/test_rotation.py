"""Certificates come and go under calls that never fail: by themselves where lives are short, and when told.

Issuing CAs of eighty seconds and SVIDs of forty are renewed every forty seconds and every twenty, by
real agents, a real hub and real Envoys.
"""

import io
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from federation.client import Admin, endpoint
from federation.commands.answers import records
from federation.demo.fleet import Fleet
from federation.demo.rotation import show_rotation
from federation.demo.scenario import Report
from federation.demo.stage import Stage
from federation.demo.topology import Lab
from federation.demo.world import in_namespaces
from federation.output import Output
from tests.system.cluster import Cluster, until
from tests.system.federation_lab import Federation, federation
from tests.system.test_hub_loss import calls_that_never_fail, hub_connected, in_sync, without_hub

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.xdist_group("rotation")]

SVIDS = timedelta(seconds=40)
ISSUING_CA, HUB_CA, HUB = 80, 240, 60


def short_lived(fleet: Fleet) -> None:
    """Have everything end soon."""
    fleet.svid_lifetime = SVIDS
    fleet.hub_options = (
        *("--issuing-ca-lifetime", f"{ISSUING_CA}s"),
        *("--hub-ca-lifetime", f"{HUB_CA}s"),
        *("--hub-cert-lifetime", f"{HUB}s"),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("rotation"), short_lived) as built:
        yield built


def ends(cluster: Cluster) -> str:
    """When the issuing CA of *cluster* ends: another moment, another issuing CA."""
    return str(cluster.status()["issuing_ca_expires"])


def rotated(admin: Admin, **asked: bool) -> dict[str, list[dict[str, str]]]:
    return msgspec.convert(admin.post("/v1/rotate", asked), dict[str, list[dict[str, str]]])


def of_hub(fed: Federation) -> Admin:
    return Admin(endpoint("hub", str(fed.fleet.hub_state)), 60)


def of_agent(cluster: Cluster) -> Admin:
    return Admin(endpoint("agent", str(cluster.state)), 60)


def done(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    assert (answer["failed"], answer["lagging"]) == ([], [])
    return [item["what"] for item in answer["done"]]


def known_to_hub(fed: Federation, cluster: Cluster) -> bool:
    """Whether the hub shows the issuing CA that *cluster* signs with as its last."""
    shown = records(of_hub(fed).get("/v1/clusters"), "clusters")
    return [each.get("ca_expires") for each in shown if each.get("name") == cluster.name] == [ends(cluster)]


def test_forced_everything_is_renewed_in_the_midst_of_calls(world: Federation) -> None:
    onprem, cloud = world.clusters
    with calls_that_never_fail(onprem, cloud.service), calls_that_never_fail(cloud, onprem.service):
        for _ in range(3):
            before = {cluster.name: (ends(cluster), cluster.serials()) for cluster in world.clusters}
            assert done(rotated(of_hub(world), force=True)) == ["hub CA", "hub certificate"]
            for cluster in world.clusters:
                assert done(rotated(of_agent(cluster), force=True))[:2] == ["issuing CA", "SVIDs"]
                assert ends(cluster) > before[cluster.name][0]
                until("no old certificate is in use", renewed, cluster, before[cluster.name][1])
                until("the hub shows the new one", known_to_hub, world, cluster)


def renewed(cluster: Cluster, before: set[str]) -> bool:
    return not before & cluster.serials()


def test_by_itself_everything_is_renewed_and_calls_go_on(world: Federation) -> None:
    """Longer than any issuing CA lives; meanwhile an agent is replaced, and the hub is away for a while."""
    onprem, cloud = world.clusters
    before = {cluster.name: ends(cluster) for cluster in world.clusters}
    ends_at = time.monotonic() + ISSUING_CA * 1.2
    with calls_that_never_fail(onprem, cloud.service), calls_that_never_fail(cloud, onprem.service):
        with without_hub(world):
            time.sleep(SVIDS.total_seconds() / 2)
        old = cloud.agent
        cloud.start_agent("--take-over")
        until("the one before has ended", lambda: old.returncode is not None)
        until("it is connected to the hub", hub_connected, cloud)
        until("its gateway is in sync", in_sync, cloud)
        while time.monotonic() < ends_at:
            time.sleep(0.5)
    for cluster in world.clusters:
        assert ends(cluster) > before[cluster.name]
        assert cluster.reaches(world.other(cluster))


def test_a_hub_that_is_away_is_said_to_be_and_calls_go_on(world: Federation) -> None:
    onprem, cloud = world.clusters
    with without_hub(world):
        answer = rotated(of_agent(onprem), force=True)
        assert [item["what"] for item in answer["failed"]] == ["issuing CA"]
        assert "could not be asked" in answer["failed"][0]["detail"]
        assert onprem.reaches(cloud)


def test_the_demos_scenario_loses_no_call(tmp_path: Path) -> None:
    """Two rounds of it; `fedgate demo --scenario rotation` makes twenty."""
    report = Report("rotation")
    with Lab(tmp_path) as lab:
        fleet = Fleet(in_namespaces(lab), tmp_path / "fleet")
        show_rotation(fleet, Stage(io.StringIO(), Output()), report, rounds=2)
        fleet.stop()
    assert report.load is not None
    assert (report.problems, report.load.failed) == ([], 0)
