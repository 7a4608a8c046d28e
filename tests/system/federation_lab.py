"""The whole of fedgate, as real processes on hosts of their own: what the tests of the full system call in.

It is the demo's world (see `federation.demo.world`): a hub, and the clusters `onprem` and `cloud` with the
same addresses inside, joined by their gateways alone. Beside the demo's samples each cluster's server host
runs `servers` and a Redis, and its app host calls by `callers`, from as many addresses as are wanted.
"""

import json
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
import yaml

from federation.client import Admin, endpoint
from federation.demo.fleet import FEDGATE, Fleet, environment
from federation.demo.machines import Machine
from federation.demo.process import Process, children_of
from federation.demo.topology import Host, Lab
from federation.demo.world import Site, in_namespaces
from federation.errors import FederationError
from federation.table import Json, Record
from tests.system import callers, servers

T = TypeVar("T")
P = ParamSpec("P")

# A source file: sections, each a list of entries.
Source = dict[str, list[dict[str, object]]]

REDIS = 6379
# Addresses of each app host beside its workload's own: nobody's, and those of a crowd of workloads.
STRANGERS = ("10.0.0.201", "fd00::201")
CROWD = tuple(f"fd00::{n}" if n % 2 else f"10.0.0.{n}" for n in range(101, 151))
_PATIENCE = 20.0
_CALL_TIMEOUT = 180.0


class CallFailed(Exception):
    """What a caller was told to do and could not."""


class Caller:
    """An application on a host: `callers`, told what to call."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._popen = subprocess.Popen(
            host.command([sys.executable, "-P", callers.__file__]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )

    def ask(self, kind: type[T], call: str, /, **how: object) -> T:
        """Have *call* made; gives what came of it, as a *kind*. Raises CallFailed."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(msgspec.json.encode({"call": call, "with": how}) + b"\n")
        self._popen.stdin.flush()
        ready, _, _ = select.select([self._popen.stdout], [], [], _CALL_TIMEOUT)
        if not ready:
            raise CallFailed(f"no end of {call} within {_CALL_TIMEOUT:.0f} s")
        answer = json.loads(self._popen.stdout.readline())
        if "error" in answer:
            raise CallFailed(answer["error"])
        return msgspec.convert(answer["value"], kind)

    def resolves(self, name: str) -> list[str]:
        """The addresses of *name*, IPv4 first."""
        found = self.ask(dict[str, list[str]], "resolve", name=name)
        return found["A"] + found["AAAA"]

    def who(self, to: str, source: str) -> str:
        """The peer that *to* saw in a call from *source*; empty if the call was refused."""
        return self.ask(str, "who", name=to, port=servers.WHO, source=source)

    def close(self) -> None:
        """Let it end."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen.wait()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an ingress's log: whom it let in, to what, and the peer that the endpoint saw."""

    authority: str
    peer: str
    downstream_remote: str
    upstream_local: str


class Cluster:
    """One cluster: its hosts, its agent and gateway, and what its source says."""

    def __init__(self, lab: Lab, fleet: Fleet, site: Site) -> None:
        self.lab = lab
        self.fleet = fleet
        self.site = site
        self.name = site.cluster
        self.service = site.service.dns_name
        self.state = fleet.agent_state(site)
        self.admin = Admin(endpoint("agent", str(self.state)), 5)
        self.app = _host(site.caller)
        self.source = _source(site)
        self.caller = Caller(self.app)
        self._agent: Process | None = None
        self._gateway: Process | None = None

    @property
    def agent(self) -> Process:
        """The agent that runs, or ran last."""
        assert self._agent is not None
        return self._agent

    @property
    def gateway(self) -> Process:
        """The gateway that runs, or ran last."""
        assert self._gateway is not None
        return self._gateway

    def identity(self, name: str) -> str:
        """The SPIFFE ID of workload `shop/NAME` of this cluster."""
        return f"spiffe://{self.name}.fed.example/ns/shop/sa/{name}"

    def reaches(self, other: "Cluster") -> bool:
        """Whether the workload of this cluster is answered by the service of *other*."""
        return bool(self.caller.who(other.service, self.site.callers[0]))

    # --- programs

    def start_servers(self) -> list[Process]:
        """Start the samples, `servers` and a Redis; gives those that print `ready`."""
        ready = self.fleet.start_samples(self.site)
        host, logs = _host(self.site.server), self.fleet.folder / "logs"
        argv = [sys.executable, "-P", servers.__file__, *self.site.endpoints]
        ready.append(host.start(argv, log=logs / f"{self.name}-servers.log", environment=environment()))
        redis = ["redis-server", "--bind", *self.site.endpoints, "--port", str(REDIS), "--save", ""]
        host.start([*redis, "--protected-mode", "no"], log=logs / f"{self.name}-redis.log")
        return ready

    def join(self) -> None:
        """Join the clusterset, with agent and gateway."""
        self._agent = self.fleet.join(self.site, self.fleet.make_token(self.site))
        self.write(self.source)
        self.start_gateway()

    def start_agent(self, *options: str) -> None:
        """Run the agent again, for which its state is enough."""
        self._agent = self.launch_agent(*options)
        self.fleet.wait_for(f"{self.name}'s agent is ready", self.status, [self._agent])

    def launch_agent(self, *options: str) -> Process:
        """Start an agent on the state of this cluster's, and do not wait for it."""
        argv = [*FEDGATE, "agent", "--state", str(self.state), "--source", str(self._source_file), *options]
        argv += [word for address in self.site.name_servers for word in ("--dns-listen", address)]
        log = self.fleet.folder / "logs" / f"{self.name}-agent.log"
        return _host(self.site.gateway).start(argv, log=log, environment=environment())

    def start_gateway(self) -> None:
        """Run the gateway, until it has taken everything."""
        self._gateway = self.fleet.start_gateway(self.site, self.agent)

    def fedgate(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `fedgate` command on the gateway's host, however it ends."""
        return self.site.gateway.run([*FEDGATE, *words], check=False, environment=environment())

    def envoy(self) -> int:
        """The process id of the gateway's Envoy."""
        supervisor = self.gateway.pid
        assert supervisor is not None
        (envoy,) = children_of(supervisor)
        return envoy

    # --- what is known

    def status(self) -> Record:
        """How its agent is doing."""
        return self.admin.get("/v1/status")

    def gateways(self) -> dict[str, Record]:
        """The gateways that are connected, by name."""
        listed = self.admin.get("/v1/gateways")["gateways"]
        return {str(gateway["name"]): gateway for gateway in msgspec.convert(listed, list[dict[str, Json]])}

    def calls(self, since: int = 0) -> list[Entry]:
        """The calls that its ingress has let in."""
        path = self.fleet.access_log(self.site)
        whole, _, _ = path.read_bytes()[since:].rpartition(b"\n")
        return [msgspec.json.decode(line, type=Entry) for line in whole.splitlines()]

    def mark(self) -> int:
        """Where the log of calls is when all that were made until now are in it: for `calls` to begin at."""
        peer = self.caller.who(self.service, self.site.callers[0])
        self.call_of(peer)
        return self.fleet.access_log(self.site).stat().st_size

    def caller_of(self, peer: str) -> str:
        """The SPIFFE ID for which its ingress opened the connection that an endpoint saw as *peer*."""
        return self.call_of(peer).peer

    def call_of(self, peer: str) -> Entry:
        """The newest call for which its ingress opened the connection that an endpoint saw as *peer*."""
        return until(f"{self.name}'s ingress has logged the call from {peer}", self._calls_of, peer)[-1]

    def _calls_of(self, peer: str) -> list[Entry]:
        return [call for call in self.calls() if call.upstream_local == peer]

    # --- the source

    @property
    def _source_file(self) -> Path:
        return self.fleet.folder / f"{self.name}.yaml"

    def write(self, source: Source | str) -> None:
        """Replace the source file."""
        text = source if isinstance(source, str) else yaml.safe_dump(source)
        new = self._source_file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._source_file)

    @contextmanager
    def edited(self) -> Iterator[Source]:
        """A copy of the source to change and `write`; the file is as it was when the block is left."""
        try:
            yield deepcopy(self.source)
        finally:
            self.write(self.source)


class Federation:
    """A hub and two clusters that know each other."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        world = in_namespaces(lab)
        self.lab = lab
        self.fleet = Fleet(world, folder)
        self.onprem, self.cloud = (Cluster(lab, self.fleet, site) for site in world.sites)
        self.hub_admin = Admin(endpoint("hub", str(self.fleet.hub_state)), 5)
        self._hub: Process | None = None
        for cluster in self.clusters:
            _plug_crowd(cluster)

    @property
    def clusters(self) -> tuple[Cluster, Cluster]:
        """Both clusters."""
        return self.onprem, self.cloud

    def __getitem__(self, name: str) -> Cluster:
        return {cluster.name: cluster for cluster in self.clusters}[name]

    def other(self, cluster: Cluster) -> Cluster:
        """The cluster that *cluster* is not."""
        return self.cloud if cluster is self.onprem else self.onprem

    @property
    def hub(self) -> Process:
        """The hub that runs, or ran last."""
        assert self._hub is not None
        return self._hub

    def start_hub(self) -> None:
        """Run the hub."""
        self._hub = self.fleet.start_hub()

    def start(self) -> None:
        """Run everything, until both clusters can call each other."""
        samples = [process for cluster in self.clusters for process in cluster.start_servers()]
        self.start_hub()
        with ThreadPoolExecutor(2) as both:
            list(both.map(Cluster.join, self.clusters))
        self.fleet.wait_listening(samples)
        self.wait_until_connected()

    def wait_until_connected(self) -> None:
        """Wait until the workload of each cluster is answered by both services."""
        for cluster in self.clusters:
            for to in self.clusters:
                until(f"{to.name} answers {cluster.name}", cluster.reaches, to)

    def close(self) -> None:
        """Let the callers end; the lab ends everything else."""
        for cluster in self.clusters:
            cluster.caller.close()


@contextmanager
def federation(folder: Path) -> Iterator[Federation]:
    """Everything up; nothing of it is left when the block is."""
    with Lab(folder) as lab, ExitStack() as stack:
        built = Federation(lab, folder / "fleet")
        stack.callback(built.close)
        built.start()
        yield built


def until(what: str, probe: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Ask *probe* until it says something that is true; what it raises while nobody answers is no."""
    deadline = time.monotonic() + _PATIENCE
    why: object = "it said no"
    while True:
        try:
            if answer := probe(*args, **named):
                return answer
        except (FederationError, CallFailed) as error:
            why = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_PATIENCE:.0f} s in vain until {what}: {why}")
        time.sleep(0.02)


def kill(process: Process) -> None:
    """End *process* as a power cut would."""
    process.signal(signal.SIGKILL)
    process.wait(5)


def resident(pid: int) -> int:
    """How many bytes of memory the process *pid* occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _source(site: Site) -> Source:
    """What *site* offers: the demo's service, with the ports of `servers` and Redis, to a crowd as well."""
    source = site.source()
    (service,) = source["services"]
    extra = {"bodies": servers.HTTP, "late": servers.LATE, "echo": servers.ECHO, "who": servers.WHO}
    extra |= {"first": servers.FIRST, "redis": REDIS}
    ports = msgspec.convert(service["ports"], list[dict[str, object]])
    service["ports"] = ports + [{"port": port, "name": name} for name, port in extra.items()]
    source["workloads"] += [
        {"namespace": "shop", "name": member(address), "addresses": [address]} for address in CROWD
    ]
    return source


def member(address: str) -> str:
    """What the workload of the crowd is called that calls from *address*."""
    return f"member-{address.rpartition(':' if ':' in address else '.')[2]}"


def _plug_crowd(cluster: Cluster) -> None:
    """Give the app host of *cluster* the addresses of the crowd, and those that are nobody's.

    They are deprecated, so that whoever does not ask for one calls from the workload's own address.
    """
    lines = [
        f"address add {a}/{64 if ':' in a else 24} dev {cluster.name} preferred_lft 0"
        for a in (*CROWD, *STRANGERS)
    ]
    cluster.app.run(["ip", "-batch", "-"], text="\n".join(lines))


def _host(machine: Machine) -> Host:
    assert isinstance(machine, Host)
    return machine
