"""Two clusters with a real Envoy each, on loopback: everything of a call but hub, agents and DNS.

Each cluster has its own issuing CA and ADS server. Every party has addresses of its own in 127.0.0.0/8, so
sources, VIPs and endpoints are as real as in a network, and nothing has to be set up.
"""

import asyncio
import json
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clusters.model import (
    ClusterView,
    Federation,
    GatewayRecord,
    Import,
    Member,
    Offering,
    VipRange,
    Workload,
)
from clusters.names import ClusterName, ServiceName
from clusters.services import CallerPattern, LocalService, Port, ServicePort
from gateway import names
from gateway.admin import Admin
from gateway.ads import Ads
from gateway.binary import arguments, find_envoy
from gateway.bootstrap import UnixAgent, admin_socket, bootstrap_file
from gateway.delta import Catalogue, Resource
from gateway.kinds import SECRET
from gateway.proxy import ProxySettings, prepare
from gateway.rpc import Peer, UnixListener
from gateway.sds import tls_certificate
from gateway.snapshot import Snapshot
from gateway.spec import Capture, GatewaySpec, Role
from gateway.translate import translate
from gateway.view import sources
from pki import profile
from pki.authority import Authority, new_root, sign, to_pem
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, gateway_id, workload_id
from tests.system.edits import Edit

DOMAIN = "fed.example"


def as_translated(_kind: str, resource: Resource) -> Resource:
    """Publish what the translation made."""
    return resource


class Pki:
    """A federation's root, and what is signed below it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.root = new_root(DOMAIN, KeySigner.generate(), self.now)
        self.hub_ca = self.root.subordinate(profile.hub_ca(DOMAIN), KeySigner.generate(), self.now)

    def issuing_ca(self, trust_domain: str, *, constrained: bool = True) -> Authority:
        """A cluster's authority, or one that could sign for everybody."""
        described = profile.issuing_ca(trust_domain)
        described = described if constrained else replace(described, constraints=None)
        return self.hub_ca.subordinate(described, KeySigner.generate(), self.now)


def secret(name: str, authority: Authority, spiffe_id: SpiffeId) -> Resource:
    """A certificate for *spiffe_id*, whatever the authority may sign."""
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
    return tls_certificate(name, to_pem([certificate]), pem)


class Cluster:
    """One cluster: its view, and the gateway that serves it."""

    def __init__(
        self,
        name: str,
        spec: GatewaySpec,
        ranges: tuple[VipRange, ...],
        authority: Authority,
        folder: Path,
        *,
        edit: Edit = as_translated,
        command: Callable[[list[str]], list[str]] = list,
    ) -> None:
        self.name = ClusterName(name)
        self.trust_domain = f"{name}.{DOMAIN}"
        self.spec = spec
        self.authority = authority
        self.folder = folder
        self.edit = edit
        self._command = command
        self.catalogue = Catalogue()
        self.ads = Ads(self._catalogue_for)
        self.snapshot: Snapshot | None = None
        self.view = ClusterView(self.name, Federation(DOMAIN, (), ranges), ranges)
        self.secrets: dict[str, Resource] = {}
        self._certified: dict[str, SpiffeId] = {}
        self.gateway = GatewayRecord("gw", spec.ingress_addresses, spec.ingress_port)
        self.more_gateways: list[GatewayRecord] = []
        self.admin = Admin(admin_socket(folder))
        self.process: asyncio.subprocess.Process | None = None

    def address(self, block: int, host: int) -> str:
        """An address of this cluster: block 0 is VIPs, 1 the gateway, 2 callers, 3 endpoints."""
        net = self.spec.ingress_addresses[0].removesuffix(".1.1")
        return f"{net}.{block}.{host}"

    async def _catalogue_for(self, _peer: Peer, _spec: GatewaySpec) -> Catalogue:
        return self.catalogue

    @property
    def member(self) -> Member:
        anchors = (to_pem(self.authority.chain),)
        return Member(self.name, self.trust_domain, anchors, (self.gateway, *self.more_gateways))

    def publish(self, view: ClusterView | None = None) -> None:
        """Translate the view, and give the gateway what changed."""
        self.view = view or self.view
        snapshot = translate(self.view, self.spec, self.snapshot)
        snapshot.check()
        before = self.snapshot or Snapshot.empty(self.spec, self.view)
        for kind, changes in snapshot.changes_since(before).items():
            self.catalogue.update(kind, {n: self.edit(kind, r) if r else None for n, r in changes.items()})
        self.snapshot = snapshot
        domain = self.trust_domain
        own = {names.gateway_secret(role): gateway_id(domain, role, "gw") for role in self.spec.roles}
        callers = {
            names.source_secret(address): workload_id(domain, workload.namespace, workload.name)
            for address, workload in sources(self.view.offer).items()
        }
        wanted = own | callers
        for name, spiffe_id in wanted.items():
            if self._certified.get(name) != spiffe_id:
                self.secrets[name] = secret(name, self.authority, spiffe_id)
        self._certified = wanted
        kept = {name: self.secrets[name] for name in wanted}
        gone = dict.fromkeys(self.secrets.keys() - kept.keys())
        self.secrets = kept
        self.catalogue.update(SECRET, {**gone, **kept})

    def pose_as(self, spiffe_id: SpiffeId) -> None:
        """Have the ingress show a certificate for *spiffe_id*."""
        name = names.gateway_secret(Role.INGRESS)
        self.secrets[name] = secret(name, self.authority, spiffe_id)
        self.catalogue.update(SECRET, {name: self.secrets[name]})

    def certify(self, address: str, spiffe_id: SpiffeId) -> None:
        """Give the caller at *address* a certificate of any kind."""
        name = names.source_secret(address)
        self.secrets[name] = secret(name, self.authority, spiffe_id)
        self.catalogue.update(SECRET, {name: self.secrets[name]})

    def publish_members(self, members: Mapping[ClusterName, Member]) -> None:
        """Publish a view with other members."""
        self.publish(replace(self.view, members=members))

    def publish_again(self) -> None:
        """Publish everything anew, for when `edit` has changed."""
        self.snapshot = None
        self.publish()

    async def settled(self) -> None:
        """Wait until the gateway has taken, or refused, all that it was told."""

        async def nothing_pending() -> bool:
            (gateway,) = self.ads.gateways()
            return not any(kind.pending for kind in gateway.kinds.values())

        await until(nothing_pending, what=f"{self.name}'s gateway to settle")

    def change(self, **changes: object) -> None:
        """Publish the view with *changes* to the offer."""
        self.publish(replace(self.view, offer=replace(self.view.offer, **changes)))  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(self, edit_bootstrap: Callable[[str], str] = str) -> AsyncIterator[None]:
        """Serve ADS and run the gateway."""
        ads_socket = self.folder / "ads.sock"
        settings = ProxySettings(self.spec, UnixAgent(ads_socket), self.folder, concurrency=1)
        prepare(settings)
        path = bootstrap_file(self.folder)
        path.write_text(edit_bootstrap(path.read_text()))
        async with self.ads.serving([UnixListener(ads_socket)]), self.admin:
            try:
                await self.start()
                yield
            finally:
                await self.kill()

    async def start(self) -> None:
        """Run the gateway's Envoy, also after it was killed."""
        command = self._command(arguments(find_envoy(), bootstrap_file(self.folder), concurrency=1))
        with (self.folder / "envoy.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        await until(self.admin.is_live, what=f"{self.name}'s gateway to be live")

    async def kill(self) -> None:
        """End the gateway's Envoy without a word; what it listened on refuses from now on."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def freeze(self) -> None:
        """Have the gateway answer nothing any more: as if its packets were dropped."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def calls(self) -> list[dict[str, str]]:
        """The lines of the ingress's log."""
        path = self.folder / "calls.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def caller_of(self, peer: str) -> str:
        """Whom the ingress saw behind the connection that an endpoint sees as *peer*."""
        found: list[str] = []

        async def logged() -> bool:
            found[:] = [line["peer"] for line in self.calls() if line["upstream_local"] == peer]
            return bool(found)

        await until(logged, what=f"a log line for {peer}")
        return found[-1]

    async def stat(self, pattern: str) -> int:
        """The sum of the stats that match."""
        return sum((await self.admin.stats(pattern)).values())


class Mesh:
    """Clusters that know each other, with services and callers to be added."""

    def __init__(self, clusters: dict[str, Cluster], stack: AsyncExitStack) -> None:
        self.clusters = clusters
        self._stack = stack
        self._places: dict[str, tuple[int, Port]] = {}

    def __getitem__(self, name: str) -> Cluster:
        return self.clusters[name]

    def introduce(self) -> None:
        """Make every cluster a member in everybody's view."""
        members = {c.name: c.member for c in self.clusters.values()}
        for cluster in self.clusters.values():
            cluster.publish_members(members)

    async def acquainted(self) -> None:
        """Wait until every gateway has found the others alive."""

        async def all_alive() -> bool:
            alive = [await c.stat(r"^cluster\.gw\|.*\.membership_healthy$") for c in self.clusters.values()]
            return all(count == len(self.clusters) for count in alive)

        await until(all_alive, what="gateways to find each other")

    def caller(self, cluster: str, name: str, *addresses: str) -> None:
        """Let workload `shop/NAME` of *cluster* call from *addresses*."""
        workloads = (*self[cluster].view.offer.workloads, Workload("shop", name, addresses))
        self[cluster].change(workloads=workloads)

    def service(
        self,
        name: str,
        at: dict[str, list[tuple[str, int]]],
        *,
        allow: Iterable[str] = (),
        again: bool = False,
        speaks: str = "",
    ) -> int:
        """Add `shop/NAME`, offered by the clusters in *at* with their endpoints; returns its port.

        *speaks* is the port's `appProtocol`; without one it is carried as bytes.
        """
        service = ServiceName("shop", name)
        index, port_of = self._places[name] if again else self._next_place(speaks)
        self._places[name] = index, port_of
        offerings = []
        for cluster, endpoints in at.items():
            target = endpoints[0][1] if endpoints else 1
            local = LocalService(
                service,
                (ServicePort(port_of, target),),
                tuple(address for address, _ in endpoints),
                tuple(CallerPattern(text) for text in allow),
            )
            offerings.append(Offering(ClusterName(cluster), (port_of,), len(endpoints)))
            view = self[cluster].view
            self[cluster].change(services={**view.offer.services, service: local})
        imported = Import(service, index, (port_of,), tuple(offerings))
        for each in self.clusters.values():
            each.publish(replace(each.view, imports={**each.view.imports, service: imported}))
        return port_of.number

    def _next_place(self, speaks: str) -> tuple[int, Port]:
        """The next VIP, and a port that is free there."""
        index = len(self._places) + 1
        anywhere = next(iter(self.clusters.values()))
        number = free_port(anywhere.view.vip_ranges[0].address(index))
        return index, Port(number, "tcp", app_protocol=speaks or None)

    def vip(self, cluster: str, name: str) -> tuple[str, int]:
        """Where to call `shop/NAME` in *cluster*."""
        imported = self[cluster].view.imports[ServiceName("shop", name)]
        return self[cluster].view.vips(imported)[0], imported.ports[0].number

    async def serve(self, address: str, handler: "Handler", port: int = 0) -> int:
        """Run a server at *address*, on *port* or one that is free; returns its port."""

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass  # the caller's business
            finally:
                writer.close()

        server = await asyncio.start_server(guarded, address, port)
        self._stack.push_async_callback(_close, server)
        return int(server.sockets[0].getsockname()[1])


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _close(server: asyncio.Server) -> None:
    server.close()


@asynccontextmanager
async def mesh(
    folder: Path,
    *,
    edit: Edit = as_translated,
    constrained: bool = True,
    edit_bootstrap: Callable[[str], str] = str,
    clusters: Iterable[str] = ("onprem", "cloud"),
) -> AsyncIterator[Mesh]:
    """*clusters*, live and knowing each other.

    *edit* and *edit_bootstrap* may change what is published and how Envoy is started; without
    *constrained*, issuing CAs may sign for any cluster.
    """
    pki = Pki()
    net = random.randrange(16, 246, 4)  # noqa: S311
    made = {}
    for index, name in enumerate(clusters):
        place = folder / name
        place.mkdir()
        authority = pki.issuing_ca(f"{name}.{DOMAIN}", constrained=constrained)
        here = f"127.{net + index}"
        spec = GatewaySpec(
            f"gw-{name}",
            frozenset(Role),
            Capture.LOOPBACK,
            (f"{here}.1.1",),
            free_port(f"{here}.1.1"),
            str(place / "calls.log"),
            tunnel_log=str(place / "tunnels.jsonl"),
        )
        ranges = (VipRange(f"{here}.0.0/24"),)
        made[name] = Cluster(name, spec, ranges, authority, place, edit=edit)
    async with AsyncExitStack() as stack:
        built = Mesh(made, stack)
        built.introduce()
        for cluster in made.values():
            await stack.enter_async_context(cluster.running(edit_bootstrap))
        await built.acquainted()
        yield built


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that speaks first: says whom it sees, then repeats every line."""
    host, port = writer.get_extra_info("peername")[:2]
    writer.write(f"{host}:{port}\n".encode())
    async for line in reader:
        writer.write(line)
        await writer.drain()


async def connect(to: tuple[str, int], source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Call from *source*."""
    return await asyncio.open_connection(*to, local_addr=(source, 0))


async def first_line(to: tuple[str, int], source: str, timeout: float = 5) -> str:
    """What a greeting server says to a new connection; empty if the connection is closed or refused."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await connect(to, source)
            try:
                return (await reader.readline()).decode().strip()
            finally:
                writer.close()
    except (ConnectionError, TimeoutError):
        return ""


async def until(condition: Callable[[], Awaitable[bool]], *, what: str, timeout: float = 10) -> None:
    """Wait until *condition*, a coroutine function, says yes."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        await asyncio.sleep(0.02)


def free_port(address: str) -> int:
    """A TCP port that nobody uses at *address*."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
