"""What goes on when programs are killed: the hub, an agent, a gateway, or several of them at once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import msgspec
import pytest

from federation.demo.fleet import FEDGATE, environment
from federation.table import Record
from tests.system import servers
from tests.system.cluster import CROWD, Cluster, kill, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("outages")]

DRAINED = 1.5  # seconds, after which Envoy has closed what a changed listener let in before


@contextmanager
def calls_that_never_fail(caller: Cluster, to: str) -> Iterator[None]:
    """While the block runs and somewhat longer, call *to* on kept and new connections: not one call fails."""
    how = {"name": to, "port": servers.WHO, "sources": list(CROWD[:4:2]), "kept": 4}
    caller.caller.ask(int, "begin", **how)
    try:
        yield
    finally:
        ended = caller.caller.ask(dict[str, object], "end", after=DRAINED)
    assert ended["failures"] == []
    assert cast("int", ended["kept"]) > 20
    assert cast("int", ended["fresh"]) > 10


def hub_says(fed: Federation, *words: str) -> object:
    """What a `fedgate` command says of the hub, without what changes by the second."""
    said = fed.fleet.run_fedgate(
        fed.fleet.world.hub, [*words, "--hub", str(fed.fleet.hub_state), "-o", "json"]
    )
    return without(json.loads(said), {"last_seen", "clock_skew_seconds", "said"})


# What the hub has to keep, and the command that shows it: VIPs are a part of services.
KEPT = {"clusters": ["clusters"], "services": ["services"], "tokens": ["token", "list"]}


def knows_as_before(fed: Federation, before: dict[str, object]) -> bool:
    return {what: hub_says(fed, *words) for what, words in KEPT.items()} == before


def all_probed(fed: Federation) -> bool:
    """Whether each gateway is known to be alive at both of its addresses."""
    clusters = msgspec.convert(hub_says(fed, "clusters"), dict[str, list[dict[str, object]]])["clusters"]
    return all(str(cluster["probes"]).count("'up'") == 2 for cluster in clusters)


def without(document: object, keys: set[str]) -> object:
    if isinstance(document, dict):
        return {key: without(value, keys) for key, value in document.items() if key not in keys}
    return [without(value, keys) for value in document] if isinstance(document, list) else document


def hub_connected(cluster: Cluster) -> bool:
    return cast("Record", cluster.status()["hub"])["connected"] is True


def hub_missed(cluster: Cluster) -> bool:
    return not hub_connected(cluster)


@contextmanager
def without_hub(fed: Federation) -> Iterator[None]:
    """The hub is killed, and started again at the end."""
    kill(fed.hub)
    try:
        for cluster in fed.clusters:
            until(f"{cluster.name} misses the hub", hub_missed, cluster)
        yield
    finally:
        fed.start_hub()
        for cluster in fed.clusters:
            until(f"{cluster.name} has the hub again", hub_connected, cluster)


def in_sync(cluster: Cluster) -> bool:
    return [gateway["state"] for gateway in cluster.gateways().values()] == ["SYNCED"]


def test_a_killed_hub_loses_nothing_and_is_not_missed_by_calls(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    unused = hub_says(frail, "token", "create", "edge")
    until("the clusters have probed each other", all_probed, frail)
    before = {what: hub_says(frail, *words) for what, words in KEPT.items()}
    with calls_that_never_fail(onprem, cloud.service), calls_that_never_fail(cloud, onprem.service):
        with without_hub(frail):
            assert onprem.caller.resolves(cloud.service)
        until("the hub sees both clusters", knows_as_before, frail, before)
    token = frail.fleet.folder / "edge.token"
    token.write_text(cast("dict[str, str]", unused)["token"])
    join = [*FEDGATE, "join", "--no-agent", "--token-file", str(token), "--state"]
    machine = onprem.site.gateway
    first, second = (
        machine.run([*join, str(frail.fleet.folder / name)], check=False, environment=environment())
        for name in ("edge", "edge-again")
    )
    assert first.returncode == 0, first.stderr
    assert "used" in second.stderr


def test_agent_and_gateway_start_from_disk_while_the_hub_is_away(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    with without_hub(frail):
        kill(onprem.agent)
        kill(onprem.gateway)
        assert not onprem.caller.resolves(cloud.service)
        onprem.start_agent()
        onprem.start_gateway()
        assert until("onprem can call", onprem.caller.who, cloud.service, CROWD[0])
        assert until("onprem can be called", cloud.caller.who, onprem.service, CROWD[0])
        assert hub_missed(onprem)


def test_a_killed_agent_is_not_missed_by_calls_and_finds_its_gateway_again(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    vip = onprem.vip(cloud.service)  # names are the agent's to answer
    with calls_that_never_fail(onprem, vip), calls_that_never_fail(cloud, onprem.service):
        for source in CROWD[:4:2]:  # whose certificates only the agent can bring
            assert onprem.caller.who(vip, source)
        kill(onprem.agent)
        until("its socket is dead", is_away, onprem)
        assert onprem.caller.who(vip, CROWD[2])
        onprem.start_agent()
        until("its gateway is in sync", in_sync, onprem)
    assert onprem.caller.who(cloud.service, CROWD[4])


def is_away(cluster: Cluster) -> bool:
    return cluster.agent.returncode is not None


def test_new_certificates_come_while_calls_go_on(frail: Federation) -> None:
    """An agent that starts has only its issuing key: it mints every SVID anew."""
    onprem, cloud = frail.clusters
    before = onprem.serials()
    vip = onprem.vip(cloud.service)
    with calls_that_never_fail(onprem, vip), calls_that_never_fail(cloud, onprem.service):
        onprem.agent.stop()
        onprem.start_agent()
        until("its gateway is in sync", in_sync, onprem)
        until("nobody uses an old certificate for new calls", renewed, onprem, before)


def renewed(cluster: Cluster, before: set[str]) -> bool:
    return not before & cluster.serials()
