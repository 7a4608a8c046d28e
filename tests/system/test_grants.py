"""Grants in the full system: what is taken away leaves at once, and who is not meant cannot call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import Cluster, until
from tests.system.federation_lab import Federation
from tests.system.thief import Thief

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]


def grant(fed: Federation, *words: str) -> None:
    fed.fleet.run_fedgate(fed.fleet.world.hub, ["grant", *words, "--yes", "--hub", str(fed.fleet.hub_state)])


@pytest.fixture
def granting(fed: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """The federation, with no grants and everything allowed when the test is over."""
    yield fed
    nothing = tmp_path_factory.mktemp("grants") / "none.yaml"
    nothing.write_text("grants: []\n")
    grant(fed, "apply", "-f", str(nothing))
    fed.wait_until_connected()


def knows(cluster: Cluster, of: Cluster) -> bool:
    return bool(cluster.vip(of.service))


def test_a_grant_decides_at_once_who_has_a_service_and_who_may_call_it_and_its_cluster_is_told(
    granting: Federation, tmp_path: Path
) -> None:
    onprem, cloud = granting.clusters
    thief = Thief(onprem, cloud, tmp_path)
    until("who knows its name gets in", thief.got_in)
    assert knows(onprem, cloud)

    grant(granting, "default", "deny", "--exports")
    until("nobody has it", lambda: not knows(onprem, cloud) and not knows(cloud, cloud))
    name = f"{cloud.site.service.namespace}/{cloud.site.service.name}"
    shown = cloud.fedgate("services", "show", name, "--agent", str(cloud.state)).stdout
    assert f"refused: no grant lets {cloud.name} export {name}" in shown
    assert "services refused" in cloud.fedgate("check", "--agent", str(cloud.state)).stdout

    grant(granting, "add", "own", "--cluster", cloud.name, "--export", "*/*", "--to", cloud.name)
    until("its own cluster has it", cloud.reaches, cloud)
    assert not knows(onprem, cloud)
    until("who knows its name is not let in either", thief.is_refused)

    grant(granting, "add", "all", "--cluster", "*", "--export", "*/*")
    until("both have it again", onprem.reaches, cloud)
    until("who dials it himself gets in again", lambda: not thief.tries()[-1].failure)
    thief.process.stop()
