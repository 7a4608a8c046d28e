"""Where the demo's parts are: a hub and two sites, on hosts of their own or on this machine's loopback.

    hub ──────┐ 192.0.2.1             in namespaces: "underlay" joins hub and gateways and nobody else;
              │ underlay              both sites use the same addresses inside, and cannot reach each other
     ┌────────┴────────┐
  gateway .10       gateway .20       runs the agent (with its DNS) and the gateway; owns the VIP range there
     │ onprem          │ cloud
  10.0.0.0/24       10.0.0.0/24
   app .11           app .11          calls
   server .21        server .21       runs the sample services

On loopback each part has an address 127.N.x.y of its own instead, each site a VIP range in 127.0.0.0/8, and
whoever calls from this machine calls from 127.0.0.1: so that is the address of both sites' workload.
"""

import errno
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clusters.model import ServiceName
from federation.demo.process import Process
from federation.demo.topology import Lab
from federation.errors import CannotDemonstrate
from federation.settings import DEFAULT_DOMAIN, DEFAULT_VIP_RANGES, HUB_PORT

NAMESPACE = "shop"
INGRESS_PORT = 15008
HTTP, GRPC, TCP = 8080, 9090, 7070

_LOOPBACK_DNS_PORT = 10053  # 53 is not for everybody


class Machine(Protocol):
    """Something that programs run on: a `Host` of the lab, or `ThisMachine`."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """The words with which one runs *argv* there, by hand."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* to its end."""

    def start(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start *argv* and leave it running."""


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster's machines and addresses: all that its files and options are made of.

    `resolves` says whether names of the clusterset resolve on the machine of the caller; where they
    do not, callers look up the address at the first of `dns` and dial that.
    """

    cluster: str
    workload: str
    service: ServiceName
    gateway: Machine
    caller: Machine
    server: Machine
    underlay: tuple[str, ...]
    callers: tuple[str, ...]
    endpoints: tuple[str, ...]
    dns: tuple[str, ...]
    capture: str
    resolves: bool
    vip_ranges: tuple[str, ...] = ()

    @property
    def caller_id(self) -> str:
        """The SPIFFE ID by which the far side should know this site's caller."""
        return f"spiffe://{self.cluster}.{DEFAULT_DOMAIN}/ns/{NAMESPACE}/sa/{self.workload}"

    @property
    def answers_as(self) -> str:
        """What this site's service says it is."""
        return f"{self.service.name}@{self.cluster}"

    def source(self) -> dict[str, list[dict[str, object]]]:
        """What the site offers, as its agent's source file says it."""
        return {
            "services": [
                {
                    "namespace": self.service.namespace,
                    "name": self.service.name,
                    "ports": [
                        {"port": HTTP, "name": "http"},
                        {"port": GRPC, "name": "grpc"},
                        {"port": TCP, "name": "tcp"},
                    ],
                    "endpoints": list(self.endpoints),
                }
            ],
            "workloads": [
                {"namespace": NAMESPACE, "name": self.workload, "addresses": list(self.callers)},
            ],
            "gateways": [{"name": "gw-1", "addresses": list(self.underlay), "port": INGRESS_PORT}],
        }


@dataclass(frozen=True, slots=True)
class World:
    """The hub's machine and the two sites. `mode` is `namespaces` or `loopback`."""

    mode: str
    hub: Machine
    hub_address: str
    onprem: Site
    cloud: Site

    @property
    def sites(self) -> tuple[Site, Site]:
        """Both sites, in the order in which they join."""
        return self.onprem, self.cloud


def in_namespaces(lab: Lab) -> World:
    """Build the world of hosts in *lab*."""
    hub = lab.host("hub")
    lab.connect("underlay", {hub: ["192.0.2.1/24", "2001:db8:2::1/64"]})
    return World(
        "namespaces",
        hub,
        "192.0.2.1",
        _site_in(lab, "onprem", "frontend", "orders", ("192.0.2.10", "2001:db8:2::10")),
        _site_in(lab, "cloud", "reports", "catalog", ("192.0.2.20", "2001:db8:2::20")),
    )


def on_loopback() -> World:
    """Find a free second octet, and give everything in the world an address below it."""
    octet = _free_octet()
    machine = ThisMachine()

    def site(number: int, cluster: str, workload: str, service: str) -> Site:
        block = f"127.{octet}.{number}"
        return Site(
            cluster,
            workload,
            ServiceName(NAMESPACE, service),
            gateway=machine,
            caller=machine,
            server=machine,
            underlay=(f"{block}.1",),
            callers=("127.0.0.1",),
            endpoints=(f"{block}.21",),
            dns=(f"{block}.1:{_LOOPBACK_DNS_PORT}",),
            capture="loopback",
            resolves=False,
            vip_ranges=(f"127.{octet}.{100 + number}.0/24",),
        )

    return World(
        "loopback",
        machine,
        f"127.{octet}.0.1",
        site(1, "onprem", "frontend", "orders"),
        site(2, "cloud", "reports", "catalog"),
    )


class ThisMachine:
    """The machine that we run on, where no namespaces can be had."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """*argv* itself."""
        return list(argv)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* to its end."""
        return subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            env=environment,
        )

    def start(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start *argv*; where the kernel can be asked to, it ends the program when we end."""
        leash = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        return Process([*leash, *argv], name=name or Path(argv[0]).name, log=log, environment=environment)


def _site_in(lab: Lab, cluster: str, workload: str, service: str, underlay: tuple[str, str]) -> Site:
    gateway, app, server = (lab.host(f"{cluster}-{part}") for part in ("gateway", "app", "server"))
    inside, callers, endpoints = (tuple(_usable(lab, f"10.0.0.{n}", f"fd00::{n}")) for n in (1, 11, 21))
    lab.connect("underlay", {gateway: [f"{underlay[0]}/24", f"{underlay[1]}/64"]})
    lab.connect(
        cluster,
        {
            host: [f"{address}/{64 if ':' in address else 24}" for address in addresses]
            for host, addresses in ((gateway, inside), (app, callers), (server, endpoints))
        },
    )
    for cidr in DEFAULT_VIP_RANGES:
        gateway.capture(cidr)
        app.route(cidr, via="fd00::1" if ":" in cidr else "10.0.0.1")
    app.name_servers(*inside)
    return Site(
        cluster,
        workload,
        ServiceName(NAMESPACE, service),
        gateway,
        app,
        server,
        underlay=tuple(_usable(lab, *underlay)),
        callers=callers,
        endpoints=endpoints,
        dns=tuple(f"[{a}]:53" if ":" in a else f"{a}:53" for a in inside),
        capture="anyip",
        resolves=True,
    )


def _usable(lab: Lab, *addresses: str) -> list[str]:
    return [address for address in addresses if lab.ipv6 or ":" not in address]


def _free_octet() -> int:
    """A second octet below which no other demo runs."""
    for octet in range(77, 127):
        with socket.socket() as probe:
            try:
                probe.bind((f"127.{octet}.0.1", HUB_PORT))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise CannotDemonstrate(
                    f"cannot listen on 127.{octet}.0.1: {error.strerror}",
                    "the demo needs Linux's 127.0.0.0/8",
                ) from error
        return octet
    raise CannotDemonstrate("every address from 127.77.0.1 to 127.126.0.1 is taken", "end some demos")
