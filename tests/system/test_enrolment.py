"""A gateway on a machine of its own: it enrols with a token, once, and carries calls in and out."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from federation.demo.fleet import FEDGATE, environment
from federation.demo.process import Process
from federation.settings import DEFAULT_VIP_RANGES
from tests.system.application import Caller
from tests.system.cluster import Cluster, Entry, kill, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("outages")]

# The edge inside of onprem and outside, and an app that goes out by it.
INSIDE, OUTSIDE, OUTSIDE6, APP = "10.0.0.2", "192.0.2.12", "2001:db8:2::12", "10.0.0.12"
LATE = "10.0.0.13"
LISTENING = ("--enrol-listen", "10.0.0.1:7445", "--ads-listen", "10.0.0.1:7446")
NAME = "edge-1"


class Edge:
    """A host of onprem's, beside its gateway's, and an app whose calls are routed to it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.folder = cluster.fleet.folder
        lab = cluster.lab
        self.host, self.app = lab.host("onprem-edge"), lab.host("onprem-far")
        lab.connect("underlay", {self.host: [f"{OUTSIDE}/24", f"{OUTSIDE6}/64"]})
        lab.connect(
            "onprem",
            {self.host: [f"{INSIDE}/24", "fd00::2/64"], self.app: [f"{APP}/24", f"{LATE}/24", "fd00::12/64"]},
        )
        for cidr in DEFAULT_VIP_RANGES:
            self.host.capture(cidr)
            self.app.route(cidr, via="fd00::2" if ":" in cidr else INSIDE)
        self.app.name_servers(*cluster.site.dns)
        self.caller = Caller(self.app)

    @property
    def state(self) -> Path:
        return self.folder / NAME

    def token(self, role: str) -> Path:
        """Have the agent make a token for the edge."""
        made = self.cluster.fedgate(
            "gateways", "token", NAME, "--role", role, "--quiet", "--agent", str(self.cluster.state)
        )
        assert made.returncode == 0, made.stderr
        path = self.folder / "edge-1.token"
        path.touch(mode=0o600)
        path.write_text(made.stdout)
        return path

    def argv(self, state: Path, *options: str) -> list[str]:
        """The command that runs the edge's gateway, and keeps it in *state*."""
        words = ["--state", str(state), "--listen", OUTSIDE, "--access-log", str(self.log)]
        return [*FEDGATE, "gateways", "run", *words, "--concurrency", "1", *options]

    @property
    def log(self) -> Path:
        return self.folder / "edge-1-calls.jsonl"

    def fails_to_run(self, state: str, *options: str) -> str:
        """Why `fedgate gateways run` does not run."""
        argv = self.argv(self.folder / state, *options)
        done: subprocess.CompletedProcess[str] = self.host.run(argv, check=False, environment=environment())
        assert done.returncode != 0
        return done.stderr

    def start(self, *options: str) -> Process:
        """Run it until it has taken everything."""
        log = self.folder / "logs" / "edge-1.log"
        process = self.host.start(self.argv(self.state, *options), log=log, environment=environment())
        until("the edge is in sync", is_synced, self.cluster)
        return process

    def calls(self) -> list[Entry]:
        """The calls that its ingress has let in."""
        return [msgspec.json.decode(line, type=Entry) for line in self.log.read_bytes().splitlines()]


def is_synced(cluster: Cluster) -> bool:
    return cluster.gateways().get(NAME, {}).get("state") == "SYNCED"


@pytest.fixture(scope="module")
def edge(frail: Federation) -> Iterator[Edge]:
    """Onprem's agent lets gateways on other machines enrol; its other gateway stays."""
    cluster = frail.onprem
    built = Edge(cluster)
    cluster.agent.stop()
    cluster.start_agent(*LISTENING)
    before = cluster.source
    cluster.source = {
        **before,
        "workloads": [*before["workloads"], {"namespace": "shop", "name": "far", "addresses": [APP]}],
    }
    cluster.write(cluster.source)
    yield built
    built.caller.close()
    cluster.source = before
    cluster.write(before)
    cluster.agent.stop()
    cluster.start_agent()
    frail.wait_until_connected()


def test_a_token_lets_one_gateway_enrol_once_and_in_its_role_and_it_carries_calls_both_ways(
    edge: Edge, frail: Federation
) -> None:
    onprem, cloud = frail.clusters
    token = edge.token("both")
    assert "role" in edge.fails_to_run("other", "--enrol", "--token-file", str(token), "--role", "egress")
    process = edge.start("--enrol", "--token-file", str(token))  # the refusal has not spent it
    assert "used" in edge.fails_to_run("other", "--enrol", "--token-file", str(token))

    peer = until("a call goes out by the edge", edge.caller.who, cloud.service, APP)
    assert cloud.call_of(peer).peer == onprem.identity("far")
    assert cloud.call_of(peer).downstream_remote.startswith((f"{OUTSIDE}:", f"[{OUTSIDE6}]:"))

    with onprem.edited() as source:
        source["gateways"] = [{"name": NAME, "addresses": [OUTSIDE], "port": 15008}]
        onprem.write(source)
        until("a call comes in by the edge", comes_in_by, edge, cloud)
        assert edge.calls()[-1].peer == cloud.site.caller_id

        # What it needs to start again is on its own disk.
        kill(process)
        process = edge.start()
        until("it carries calls again", edge.caller.who, cloud.service, APP)
        known = len(edge.calls())
        until("and lets them in", comes_in_by, edge, cloud, known)
    process.stop()


def test_while_an_agent_takes_over_calls_go_by_a_gateway_elsewhere_and_it_finds_the_new_one(
    edge: Edge, frail: Federation
) -> None:
    onprem, cloud = frail.clusters
    process = edge.start("--enrol", "--token-file", str(edge.token("both")))
    until("a call goes out by the edge", edge.caller.who, cloud.service, APP)
    before, answered = onprem.agent, 0
    onprem.start_agent("--take-over", *LISTENING)
    while before.returncode is None:
        assert edge.caller.who(cloud.service, APP)
        answered += 1
    assert (before.returncode, answered > 3) == (0, True)

    until("the edge is in sync with the new agent", is_synced, onprem)
    with onprem.edited() as source:
        source["workloads"].append({"namespace": "shop", "name": "late", "addresses": [LATE]})
        onprem.write(source)
        until("what the new agent learns reaches it", edge.caller.who, cloud.service, LATE)
    process.stop()


def comes_in_by(edge: Edge, caller: Cluster, known: int = 0) -> bool:
    """Whether a call to onprem is in the edge's log, beyond the *known* lines."""
    caller.caller.who(edge.cluster.service, caller.site.callers[0])
    return edge.log.exists() and len(edge.calls()) > known


def test_an_egress_that_says_it_is_an_ingress_too_is_told_nothing(edge: Edge) -> None:
    state = edge.folder / "edge-2"
    token = edge.token("egress")
    assert "role" in edge.fails_to_run("other", "--enrol", "--token-file", str(token), "--role", "both")
    argv = [*edge.argv(state, "--enrol", "--token-file", str(token))]
    log = edge.folder / "logs" / "edge-2.log"
    process = edge.host.start(argv, log=log, environment=environment())
    until("it is in sync as an egress", is_synced, edge.cluster)
    process.stop()
    until("it is gone", is_gone, edge.cluster)
    record = state / "gateway.json"
    record.write_text(record.read_text().replace('"egress"', '"both"'))
    process = edge.host.start(edge.argv(state), log=log, environment=environment())
    until("the agent refuses it", refused, edge.cluster)
    shown = edge.cluster.gateways().get(NAME, {"connected": False, "resources": {}})
    assert (shown["connected"], shown["resources"]) == (False, {})
    process.stop()


def is_gone(cluster: Cluster) -> bool:
    return NAME not in cluster.gateways()


def refused(cluster: Cluster) -> bool:
    """Whether the agent has said so in its log."""
    return "its certificate is for" in cluster.agent.tail(5)
