"""An agent that takes over, one that is killed, an Envoy that dies: what those who call and look then see."""

import os
import random
import signal
import time
from collections.abc import Iterator

import msgspec
import pytest

from federation import last_view
from tests.system.cluster import Cluster, kill, until
from tests.system.federation_lab import Federation, federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.xdist_group("survival")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation that these tests may break."""
    with federation(tmp_path_factory.mktemp("survival")) as built:
        yield built


def connected(cluster: Cluster) -> bool:
    hub = cluster.status()["hub"]
    return isinstance(hub, dict) and hub["connected"] is True


def gateway(cluster: Cluster) -> dict[str, object]:
    listed = msgspec.convert(cluster.admin.get("/v1/gateways")["gateways"], list[dict[str, object]])
    return next((gateway for gateway in listed if gateway["name"] == "gw-1"), {"state": "ABSENT"})


def test_while_one_agent_takes_over_from_another_every_name_is_answered(world: Federation) -> None:
    cluster, other = world.onprem, world.cloud
    before = cluster.agent
    cluster.start_agent("--take-over")
    answered = 0
    while before.returncode is None:
        assert cluster.caller.resolves(other.service)
        answered += 1
    assert before.returncode == 0
    assert answered > 20
    until("it is connected to the hub", connected, cluster)
    until("the gateway is connected to it", lambda: gateway(cluster)["state"] == "SYNCED")
    assert cluster.reaches(other)


def test_an_agent_that_dies_while_it_takes_over_leaves_the_other_at_work(world: Federation) -> None:
    cluster, before = world.onprem, world.onprem.agent
    chance = random.Random(7)  # noqa: S311
    for _ in range(4):
        heir = cluster.launch_agent("--take-over")
        time.sleep(chance.uniform(0.1, 0.7))
        kill(heir)
        if before.returncode is not None:
            break  # it had come so far as to be the only one
        assert cluster.caller.resolves(world.cloud.service)
    if before.returncode is not None:
        cluster.start_agent()
    assert cluster.reaches(world.cloud)


def test_without_an_agent_to_take_over_from_it_just_starts(world: Federation) -> None:
    kill(world.onprem.agent)
    world.onprem.start_agent("--take-over")
    assert world.onprem.reaches(world.cloud)


def test_what_is_on_disk_is_read_back_whenever_the_agent_was_killed(world: Federation) -> None:
    cluster, chance = world.onprem, random.Random(11)  # noqa: S311
    for number in range(8):
        with cluster.edited() as source:
            source["workloads"].append({"namespace": "shop", "name": f"w{number}", "addresses": ["10.9.9.9"]})
            cluster.write(source)
            time.sleep(chance.uniform(0.0, 0.5))
            kill(cluster.agent)
        assert last_view.load(cluster.state) is not None
        cluster.start_agent()
    assert cluster.reaches(world.cloud)


def test_an_envoy_that_dies_is_started_again_and_that_is_shown(world: Federation) -> None:
    cluster = world.onprem
    until("the gateway is in sync", lambda: gateway(cluster)["state"] == "SYNCED")
    os.kill(cluster.envoy(), signal.SIGKILL)
    until("it has been started again", lambda: gateway(cluster).get("restarts") == 1)
    until("it is in sync again", lambda: gateway(cluster)["state"] == "SYNCED")
    assert "signal 9" in str(gateway(cluster)["detail"])
    until("calls go through it", cluster.reaches, world.cloud)
