"""One cluster of the lab: its hosts, its agent and gateway, its source, and whom its ingress let in.

Its server host runs the demo's samples, `servers` and a Redis; its app host calls by `callers`, from the
workload's own addresses, those of a crowd of workloads, and some that are nobody's.
"""

import asyncio
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
import yaml

from federation.client import Admin, endpoint
from federation.commands.answers import records
from federation.demo.fleet import FEDGATE, Fleet, environment
from federation.demo.machines import Machine
from federation.demo.process import Process, children_of
from federation.demo.topology import Host, Lab
from federation.demo.world import Site
from federation.errors import FederationError
from federation.table import Record
from gateway.admin import Admin as EnvoyAdmin
from gateway.bootstrap import admin_socket
from tests.system import servers
from tests.system.application import Caller, CallFailed

T = TypeVar("T")
P = ParamSpec("P")

# A source file: sections, each a list of entries.
Source = dict[str, list[dict[str, object]]]

REDIS = 6379
# Addresses of each app host beside its workload's own: nobody's, and those of a crowd of workloads.
STRANGERS = ("10.0.0.201", "fd00::201")
CROWD = tuple(f"10.0.0.{n}" if n % 2 else f"fd00::{n}" for n in range(101, 151))
_PATIENCE = 20.0
# How long ago a tunnel may have been opened by which a request goes.
_POOLED = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an ingress's log: when and whom it let in, to what, and the peer that the endpoint saw."""

    start: datetime
    authority: str
    peer: str
    downstream_remote: str
    upstream_local: str


class _Chain(msgspec.Struct):
    serial_number: str


class _Pair(msgspec.Struct):
    cert_chain: list[_Chain] = []


class _Certificates(msgspec.Struct):
    certificates: list[_Pair]


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
        self.app = host_of(site.caller)
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

    def vip(self, service: str, record: str = "A") -> str:
        """What *service* resolves to here, or empty."""
        found = self.caller.ask(dict[str, list[str]], "resolve", name=service)[record]
        return found[0] if found else ""

    # --- programs

    def start_servers(self) -> list[Process]:
        """Start the samples, `servers` and a Redis; gives those that print `ready`."""
        ready = self.fleet.start_samples(self.site)
        host, logs = host_of(self.site.server), self.fleet.folder / "logs"
        argv = [sys.executable, "-P", servers.__file__, *self.site.endpoints]
        ready.append(host.start(argv, log=logs / f"{self.name}-servers.log", environment=environment()))
        if shutil.which("redis-server") is None:
            return ready
        redis = ["redis-server", "--bind", *self.site.endpoints, "--port", str(REDIS), "--save", ""]
        host.start([*redis, "--protected-mode", "no"], log=logs / f"{self.name}-redis.log")
        return ready

    def join(self, *, rejoin: bool = False) -> None:
        """Join the clusterset, and run the agent; *rejoin* with a state that has joined before."""
        self._agent = self.fleet.join(self.site, self.fleet.make_token(self.site), rejoin=rejoin)
        self.write(self.source)

    def start_agent(self, *options: str) -> None:
        """Run the agent again, for which its state is enough."""
        self._agent = self.launch_agent(*options)
        self.fleet.wait_for(f"{self.name}'s agent is ready", self.status, [self._agent])

    def launch_agent(self, *options: str) -> Process:
        """Start an agent on the state of this cluster's, and do not wait for it."""
        argv = [*FEDGATE, "agent", "--state", str(self.state), "--source", str(self._source_file), *options]
        argv += [word for address in self.site.name_servers for word in ("--dns-listen", address)]
        log = self.fleet.folder / "logs" / f"{self.name}-agent.log"
        return host_of(self.site.gateway).start(argv, log=log, environment=environment())

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

    def serials(self) -> set[str]:
        """The serial numbers of the certificates that its Envoy shows in new connections."""
        shown = msgspec.json.decode(self._envoy_says("/certs"), type=_Certificates).certificates
        return {chain.serial_number for pair in shown for chain in pair.cert_chain}

    def let_out(self) -> int:
        """How many connections of callers its Envoy has let in, to carry them on."""
        return int(self._envoy_says("/stats?filter=^tcp.tcp.downstream_cx_total$").rpartition(":")[2])

    def _envoy_says(self, path: str) -> str:
        folder = self.fleet.folder / f"{self.name}-{self.site.fronts[0].name}"

        async def ask() -> str:
            async with EnvoyAdmin(admin_socket(folder)) as admin:
                return await admin.get(path)

        return asyncio.run(ask())

    # --- what is known

    def status(self) -> Record:
        """How its agent is doing."""
        return self.admin.get("/v1/status")

    def gateways(self) -> dict[str, Record]:
        """The gateways that are connected, by name."""
        listed = records(self.admin.get("/v1/gateways"), "gateways")
        return {str(gateway["name"]): gateway for gateway in listed}

    def subscriptions(self) -> int:
        """How many names its own gateway has asked for."""
        asked = self.gateways()["gw-1"]["subscriptions"]
        return sum(msgspec.convert(asked, dict[str, int]).values())

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

    def caller_of(self, peer: str, *, in_http: bool = False) -> str:
        """The SPIFFE ID for which its ingress opened the connection that an endpoint saw as *peer*."""
        return self.call_of(peer, in_http=in_http).peer

    def call_of(self, peer: str, *, in_http: bool = False) -> Entry:
        """The call made last, for which its ingress opened the connection that an endpoint saw as *peer*.

        Addresses are used again: of a call before that one, the log may hold a line with the same peer. One
        *in_http* may have gone by a tunnel that was open already.
        """
        what = f"{self.name}'s ingress has logged the call from {peer}"
        return until(what, self._calls_of, peer, _POOLED if in_http else timedelta())[-1]

    def _calls_of(self, peer: str, older: timedelta) -> list[Entry]:
        begun = Caller.asked - timedelta(milliseconds=1) - older  # to the first of which the log rounds
        return [call for call in self.calls() if call.upstream_local == peer and call.start >= begun]

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
    ports.append({"port": servers.TOLD, "name": "told", "appProtocol": "http"})
    service["ports"] = ports + [{"port": port, "name": name} for name, port in extra.items()]
    source["workloads"] += [
        {"namespace": "shop", "name": member(address), "addresses": [address]} for address in CROWD
    ]
    return source


def member(address: str) -> str:
    """What the workload of the crowd is called that calls from *address*."""
    return f"member-{address.rpartition(':' if ':' in address else '.')[2]}"


def plug_crowd(cluster: Cluster) -> None:
    """Give the app host of *cluster* the addresses of the crowd, and those that are nobody's.

    They are deprecated, so that whoever does not ask for one calls from the workload's own address.
    """
    lines = [
        f"address add {a}/{64 if ':' in a else 24} dev {cluster.name} preferred_lft 0"
        for a in (*CROWD, *STRANGERS)
    ]
    cluster.app.run(["ip", "-batch", "-"], text="\n".join(lines))


def host_of(machine: Machine) -> Host:
    assert isinstance(machine, Host)
    return machine
