"""A cluster that is shut out while it answers nothing, a workload that is revoked, what is left of both."""

import time
from pathlib import Path

import pytest

from federation.client import Admin, endpoint
from federation.commands.answers import records
from federation.errors import AdminRefused
from tests.system import servers
from tests.system.cluster import CROWD, Cluster, kill, member, until
from tests.system.federation_lab import Federation
from tests.system.thief import Thief

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.xdist_group("outages")]

SOON = 8.0  # seconds; a tenth of one on a machine with nothing else to do


def keeps(caller: Cluster, callee: Cluster, source: str) -> str:
    """Open a call that stays; gives its key."""
    key = f"{source} to {callee.name}"
    assert caller.caller.ask(str, "keep", key=key, name=callee.service, port=servers.WHO, source=source)
    return key


def goes_on(caller: Cluster, key: str) -> bool:
    return bool(caller.caller.ask(str, "goes_on", key=key))


def ends(caller: Cluster, key: str) -> bool:
    return caller.caller.ask(bool, "ends", key=key, within=SOON)


def on_hub(fed: Federation, *words: str) -> str:
    return fed.fleet.run_fedgate(fed.fleet.world.hub, [*words, "--hub", str(fed.fleet.hub_state)])


def link(cluster: Cluster) -> object:
    """Why its agent is not connected to the hub."""
    hub = cluster.status()["hub"]
    assert isinstance(hub, dict)
    return hub["code"]


def test_a_frozen_cluster_is_shut_out_and_comes_back_with_new_keys_only(
    frail: Federation, tmp_path: Path
) -> None:
    onprem, cloud = frail.clusters
    hub = Admin(endpoint("hub", str(frail.fleet.hub_state)), 5)
    caller = onprem.site.callers[0]
    thief = Thief(cloud, onprem, tmp_path)
    to, home = keeps(onprem, cloud, caller), keeps(onprem, onprem, caller)
    back = keeps(cloud, onprem, cloud.site.callers[0])
    vip = onprem.vip(cloud.service)
    until("the thief gets in", thief.got_in)

    with cloud.agent.frozen(), cloud.gateway.frozen():
        said = on_hub(frail, "clusters", "evict", "cloud", "--yes", "--wait", "20s")
        assert said.startswith("cloud evicted at 1 gateway in")
        assert ends(onprem, to)
        until("the thief is refused", thief.is_refused)
        until("its services are gone", lambda: not onprem.caller.resolves(cloud.service))
        assert not onprem.caller.who(vip, caller)
    assert ends(cloud, back)
    until("its agent is told", lambda: link(cloud) == "evicted")
    assert not cloud.caller.who(cloud.vip(onprem.service), CROWD[0])
    assert goes_on(onprem, home)
    states = {str(c["name"]): c["state"] for c in records(hub.get("/v1/clusters"), "clusters")}
    assert states == {"onprem": "connected", "cloud": "evicted"}
    with pytest.raises(AdminRefused) as refused:
        hub.post("/v1/tokens", {"cluster": "cloud"})
    assert refused.value.code == "evicted"

    for process in (cloud.gateway, cloud.agent):
        kill(process)
    on_hub(frail, "clusters", "readmit", "cloud")
    cloud.join(rejoin=True)
    cloud.start_gateway()
    frail.wait_until_connected()
    assert thief.is_refused()
    assert goes_on(onprem, home)
    thief.process.stop()


def test_a_revoked_workload_calls_nobody_and_others_notice_nothing(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    identity = onprem.identity(member(CROWD[0]))
    revoked, other = keeps(onprem, cloud, CROWD[0]), keeps(onprem, cloud, CROWD[2])
    assert onprem.fedgate("certs", "revoke", identity, "--agent", str(onprem.state)).returncode == 0
    assert ends(onprem, revoked)
    assert not onprem.caller.who(cloud.service, CROWD[0])
    assert goes_on(onprem, other)
    listed = {
        str(cert["spiffe_id"]): cert["state"] for cert in records(onprem.admin.get("/v1/certs"), "certs")
    }
    assert listed[identity] == "revoked"

    undone = onprem.fedgate("certs", "revoke", identity, "--undo", "--agent", str(onprem.state))
    assert undone.returncode == 0
    until("it calls again", lambda: onprem.caller.who(cloud.service, CROWD[0]))


def test_a_stolen_certificate_is_refused_by_other_clusters_when_its_workload_is_revoked(
    frail: Federation, tmp_path: Path
) -> None:
    onprem, cloud = frail.clusters
    thief = Thief(cloud, onprem, tmp_path)
    identity = cloud.identity("intruder")
    until("the thief gets in", thief.got_in)
    began = time.monotonic()
    assert cloud.fedgate("certs", "revoke", identity, "--agent", str(cloud.state)).returncode == 0
    until("the thief is refused", thief.is_refused)
    assert max(made.ended for made in thief.tries() if not made.failure) - began < SOON
    assert cloud.caller.who(onprem.service, CROWD[0])

    assert cloud.fedgate("certs", "revoke", identity, "--undo", "--agent", str(cloud.state)).returncode == 0
    until("the thief gets in again", lambda: not thief.tries()[-1].failure)
    thief.process.stop()
