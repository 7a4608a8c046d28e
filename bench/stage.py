"""A host of its own with everything on it that is measured: plain proxies, and fedgate's real gateways.

The gateways are programmed by the real translation, over the real ADS, which is served in this process: its
time is not theirs. One calls from the cluster `onprem`, the other lets in to the cluster `cloud`.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import load
from bench.hops import Credentials
from bench.report import Json
from clusters.model import Import, Offer, Offering, VipRange, Workload
from clusters.names import ClusterName, ServiceName
from clusters.services import LocalService, Port, ServicePort
from federation.demo.process import Process
from federation.demo.topology import Host, Lab
from gateway import names
from gateway.admin import Admin
from gateway.binary import arguments, find_envoy
from gateway.bootstrap import UnixAgent, admin_socket, bootstrap_file
from gateway.kinds import LISTENER
from gateway.proxy import ProxySettings, prepare
from gateway.rpc import UnixListener
from gateway.spec import Capture, GatewaySpec, Role
from pki import profile
from pki.authority import Authority, sign, to_pem
from pki.spiffe import SpiffeId, gateway_id
from tests.system.mesh import DOMAIN, Cluster, Pki, until

VIPS: Final = VipRange("241.0.0.0/16")
INGRESS: Final = ("127.0.2.1", 15008)
BACKEND: Final = ("127.0.3.1", 9000)
BULK: Final = ("127.0.3.1", 9001)
CALLERS: Final = tuple(f"10.0.0.{number}" for number in range(11, 21))
_ONPREM, _CLOUD = ClusterName("onprem"), ClusterName("cloud")


@dataclass(frozen=True, slots=True)
class Service:
    """A service to be called through the gateways, and the address where it really is."""

    name: str
    port: int
    at: tuple[str, int] = BACKEND
    app_protocol: str | None = None

    @property
    def its_name(self) -> ServiceName:
        """What the clusterset calls it."""
        return ServiceName("shop", self.name)

    @property
    def its_port(self) -> Port:
        """The port it is called on."""
        return Port(self.port, app_protocol=self.app_protocol)


def vip(index: int) -> str:
    """Where the service at *index* is called: the first is 1."""
    return VIPS.address(index)


class Stage:
    """The host, and what runs there."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.host: Host = lab.host("bench")
        self._pki = Pki()
        self._authorities = {name: self._pki.issuing_ca(f"{name}.{DOMAIN}") for name in ("onprem", "cloud")}
        self.pids: dict[str, int] = {}
        self.python = sys.executable
        self.script = folder / "wrk.lua"
        self.script.write_text(load.WRK_SCRIPT)
        lines = [f"address add {address}/32 dev lo" for address in CALLERS]
        # Whoever calls and does not say from where calls from the first.
        lines.append(f"route add local {VIPS.cidr} dev lo src {CALLERS[0]}")
        self.host.run(["ip", "-batch", "-"], text="\n".join(lines))
        settings = ["ip_local_port_range=20000 65000", "tcp_tw_reuse=1"]
        for setting in settings:
            name, _, value = setting.partition("=")
            self.host.run(["sh", "-c", f"echo {value} >/proc/sys/net/ipv4/{name}"])

    # --- programs

    def start(self, name: str, argv: list[str]) -> int:
        """Start a program, and remember its process id under *name*."""
        process: Process = self.host.start(argv, log=self.folder / f"{name}.log", name=name)
        pid = process.pid
        if pid is None:
            raise RuntimeError(f"{name} ended at once: {process.tail()}")
        self.pids[name] = pid
        return pid

    def start_envoy(self, name: str, configuration: Mapping[str, Json]) -> int:
        """Start a plain Envoy with one worker."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(configuration))
        return self.start(name, arguments(find_envoy(), path, concurrency=1))

    def start_haproxy(self, name: str, configuration: str) -> int:
        """Start an HAProxy."""
        path = self.folder / f"{name}.cfg"
        path.write_text(configuration)
        return self.start(name, ["haproxy", "-db", "-f", str(path)])

    def start_bulk(self) -> int:
        """Start the server of bodies."""
        return self.start("bulk", [sys.executable, "-P", load.__file__, "serve", BULK[0], str(BULK[1])])

    async def run(self, argv: list[str]) -> str:
        """Run *argv* on the host to its end, and give what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self.host.command(argv), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {err.decode().strip()[-500:]}")
        return out.decode()

    async def answers(self, *to: tuple[str, int]) -> None:
        """Wait until an HTTP request is answered at each of *to*."""
        for host, port in to:
            url = f"http://{host}:{port}/"

            async def answered(url: str = url) -> bool:
                code = await self.run(
                    ["sh", "-c", f"curl -s -m 2 -o /dev/null -w '%{{http_code}}' {url} || :"]
                )
                return code.strip() == "200"

            await until(answered, what=f"an answer from {url}")

    # --- certificates

    def credentials(self, cluster: str, role: str) -> Credentials:
        """Files for a gateway of *cluster*, for programs that are not fedgate's."""
        authority, name = self._authorities[cluster], f"{cluster}-{role}"
        chain, key = _issue(authority, gateway_id(f"{cluster}.{DOMAIN}", role, "gw"))
        trusted = "".join(to_pem(each.chain) for each in self._authorities.values())
        trusted += to_pem([self._pki.root.certificate])
        texts = {"chain": chain, "key": key, "both": chain + key, "trusted": trusted}
        paths = {what: self.folder / f"{name}-{what}.pem" for what in texts}
        for what, text in texts.items():
            paths[what].write_text(text)
        return Credentials(**paths)

    # --- fedgate

    def cluster(self, name: str, role: Role) -> Cluster:
        """The control plane's half of a cluster with one gateway, which is an ingress or an egress."""
        spec = GatewaySpec(
            f"gw-{name}", frozenset({role}), Capture.ANYIP, (INGRESS[0],), INGRESS[1], None, ipv6=False
        )
        folder = self.folder / f"gw-{name}"
        folder.mkdir(exist_ok=True)
        return Cluster(name, spec, (VIPS,), self._authorities[name], folder)

    @asynccontextmanager
    async def gateways(
        self, services: Iterable[Service], *, concurrency: int = 1
    ) -> AsyncIterator[tuple[Cluster, Cluster]]:
        """Run both gateways, with *services* at the VIPs 1, 2, 3…: egress and ingress."""
        egress, ingress = self.cluster("onprem", Role.EGRESS), self.cluster("cloud", Role.INGRESS)
        imports, offered = {}, {}
        for index, service in enumerate(services, 1):
            port = service.its_port
            imports[service.its_name] = Import(
                service.its_name, index, (port,), (Offering(_CLOUD, (port,), 1),)
            )
            offered[service.its_name] = LocalService(
                service.its_name, (ServicePort(port, service.at[1]),), (service.at[0],)
            )
        members = {each.name: each.member for each in (egress, ingress)}
        workloads = tuple(Workload("shop", f"caller-{n}", (address,)) for n, address in enumerate(CALLERS, 1))
        egress.publish(
            replace(egress.view, members=members, imports=imports, offer=Offer(workloads=workloads))
        )
        ingress.publish(replace(ingress.view, members=members, imports=imports, offer=Offer(offered)))
        async with AsyncExitStack() as stack:
            for each in (ingress, egress):
                await stack.enter_async_context(self._running(each, concurrency))
            yield egress, ingress

    @asynccontextmanager
    async def _running(self, cluster: Cluster, concurrency: int) -> AsyncIterator[None]:
        socket = cluster.folder / "ads.sock"
        prepare(ProxySettings(cluster.spec, UnixAgent(socket), cluster.folder, concurrency=concurrency))
        async with cluster.ads.serving([UnixListener(socket)]):
            argv = arguments(find_envoy(), bootstrap_file(cluster.folder), concurrency=concurrency)
            pid = self.start(f"fedgate-{cluster.name}", argv)
            async with Admin(admin_socket(cluster.folder)) as admin:
                await until(admin.is_live, what=f"{cluster.name}'s gateway to be live", timeout=60)
            try:
                yield
            finally:
                self.host.run(["sh", "-c", f"kill {_inner(pid)} || :"])


def carries_http(stage: Stage) -> bool:
    """Whether this fedgate puts HTTP at the egress through a connection manager."""
    cluster = stage.cluster("onprem", Role.EGRESS)
    service = Service("probe", 8080, app_protocol="http")
    imported = Import(service.its_name, 1, (service.its_port,), (Offering(_ONPREM, (service.its_port,), 1),))
    cluster.publish(replace(cluster.view, imports={service.its_name: imported}))
    assert cluster.snapshot is not None
    called = cluster.snapshot.resources()[LISTENER][names.egress_listener(service.port)]
    return b"HttpConnectionManager" in called.body


def _inner(pid: int) -> str:
    """What the lab calls *pid*."""
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("NSpid"))
    return line.split()[-1]


def _issue(authority: Authority, spiffe_id: SpiffeId) -> tuple[str, str]:
    """A certificate with what leads up from it, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(
        profile.svid(spiffe_id),
        key.public_key(),
        issuer=authority.certificate,
        signer=authority.signer,
        now=datetime.now(UTC),
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return to_pem([certificate, *authority.chain]), pem
