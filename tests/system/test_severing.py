"""Open connections to and from a cluster that is none any more, on real Envoys."""

import asyncio
import queue
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clusters.clock import utc_now
from clusters.reports import Notice
from federation.expelling import Expelling
from federation.severing import Severing
from gateway.bootstrap import admin_socket
from gateway.probes import Lookout
from gateway.tunnel_log import TunnelLog, reopening
from pki import profile
from pki.authority import sign, to_pem
from pki.spiffe import workload_id
from tests.system.floods import END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, literal
from tests.system.mesh import Cluster, Mesh, connect, mesh, until

pytestmark = pytest.mark.envoy

WINDOW_UPDATE = 8
MOST = (1 << 31) - 1  # the biggest window of HTTP/2, so that nothing has to be said again
SOON = 5.0  # seconds; it takes a tenth of one on a machine with nothing else to do


async def speak_for_ever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"and on\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@dataclass
class Call:
    """An open call to a server that never stops."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        try:
            while await self.reader.readline():
                self.heard += 1
        except ConnectionError:
            pass
        self.ended.set()
        self.writer.close()

    async def goes_on(self) -> None:
        before = self.heard

        async def heard_more() -> bool:
            return self.heard > before

        await until(heard_more, what="more to be heard")
        assert not self.ended.is_set()

    async def ends(self) -> None:
        async with asyncio.timeout(SOON):
            await self.ended.wait()


class World:
    """Three clusters, each with a server and a caller."""

    def __init__(self, built: Mesh, tasks: asyncio.TaskGroup) -> None:
        self.built = built
        self.tasks = tasks

    def __getitem__(self, name: str) -> Cluster:
        return self.built[name]

    def source(self, name: str, host: int = 1) -> str:
        return self[name].address(2, host)

    async def call(self, caller: str, callee: str, host: int = 1) -> Call:
        """Call across, until something has been heard."""
        call = Call(*await connect(self.built.vip(caller, callee), self.source(caller, host)))
        self.tasks.create_task(call.listen())
        await call.goes_on()
        return call

    def shut_out(self, name: str, *, by: str) -> None:
        """Take the member *name* from the view of *by*."""
        members = self[by].view.members
        self[by].publish_members({n: member for n, member in members.items() if n != name})


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with mesh(folder, clusters=("onprem", "cloud", "edge")) as built, asyncio.TaskGroup() as tasks:
        for name, cluster in built.clusters.items():
            built.caller(name, "app", cluster.address(2, 1))
            built.caller(name, "other", cluster.address(2, 2))
            port = await built.serve(cluster.address(3, 1), speak_for_ever)
            built.service(name, {name: [(cluster.address(3, 1), port)]})
        for cluster in built.clusters.values():
            await cluster.settled()
        made = World(built, tasks)
        yield made
        for cluster in built.clusters.values():
            await cluster.kill()


class Thief:
    """Has the key of `shop/app` of *of*, and dials the ingress of *victim* himself."""

    def __init__(self, of: Cluster, victim: Cluster) -> None:
        self.spiffe_id = str(workload_id(of.trust_domain, "shop", "app"))
        self._of = of
        self._to = victim.gateway.addresses[0], victim.gateway.port

    def _tls(self) -> ssl.SSLContext:
        issuer, key = self._of.authority, ec.generate_private_key(ec.SECP256R1())
        described = profile.svid(workload_id(self._of.trust_domain, "shop", "app"))
        certificate = sign(
            described,
            key.public_key(),
            issuer=issuer.certificate,
            signer=issuer.signer,
            now=datetime.now(UTC),
        )
        stolen = self._of.folder / "stolen.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        stolen.write_text(to_pem([certificate, *issuer.chain]) + pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(stolen)
        context.set_alpn_protocols(["h2"])
        return context

    async def call(self, service: str, port: int) -> Call:
        """Open a tunnel, until something has been heard in it: lines of the server, between frames."""
        reader, writer = await asyncio.open_connection(
            *self._to, ssl=self._tls(), server_hostname=self._of.trust_domain
        )
        authority = f"{service}.shop.svc.clusterset.local:{port}".encode()
        head = literal(b":method", b"CONNECT") + literal(b":authority", authority)
        writer.write(PREFACE + frame(SETTINGS, 0, 0, (4).to_bytes(2) + (MOST).to_bytes(4)))
        writer.write(frame(WINDOW_UPDATE, 0, 0, (MOST - 65_535).to_bytes(4)))
        writer.write(frame(HEADERS, END_HEADERS, 1, head))
        await reader.readuntil(b"and on\n")
        return Call(reader, writer)


class Agent:
    """Says what it is told to, to who waits for it."""

    def __init__(self) -> None:
        self.notices: queue.Queue[Notice] = queue.Queue()

    def ask(self, seen: str) -> Notice:
        try:
            return self.notices.get(timeout=0.2)
        except queue.Empty:
            return Notice(seen)


@asynccontextmanager
async def severing(cluster: Cluster, most: int = 4 << 20) -> AsyncIterator[Agent]:
    """What minds the Envoy of *cluster*."""
    agent = Agent()
    lookout = Lookout(admin_socket(cluster.folder), utc_now)
    await asyncio.to_thread(lookout.look)

    def envoy() -> int | None:
        return cluster.process.pid if cluster.process else None

    assert cluster.spec.tunnel_log
    tunnels = TunnelLog(Path(cluster.spec.tunnel_log), reopening(admin_socket(cluster.folder)), most)
    with (
        Expelling(tunnels, envoy) as expelling,
        Severing(agent.ask, envoy, lookout, expelling.expel),
    ):
        yield agent


async def test_what_is_open_to_and_from_a_cluster_that_is_shut_out_ends_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as made, severing(made["onprem"]) as agent:
        to, back = await made.call("onprem", "cloud"), await made.call("cloud", "onprem")
        others = [
            await made.call(*pair) for pair in (("onprem", "edge"), ("edge", "onprem"), ("onprem", "onprem"))
        ]
        made.shut_out("cloud", by="onprem")
        agent.notices.put(Notice("1"))
        await asyncio.gather(to.ends(), back.ends())
        for call in others:
            await call.goes_on()


async def test_what_a_cluster_has_open_ends_with_its_filter_chain_and_needs_nobody_to_sever_it(
    tmp_path: Path,
) -> None:
    """Envoy waits for its drain time with that: ten minutes, unless it is told that there is none.

    A gateway that may not reach into its Envoy has nothing else against who is shut out and talks on.
    """
    async with world(tmp_path) as made:
        back, other = await made.call("cloud", "onprem"), await made.call("edge", "onprem")
        made.shut_out("cloud", by="onprem")
        await back.ends()
        await other.goes_on()


async def test_without_severing_what_is_open_to_it_goes_on(tmp_path: Path) -> None:
    """Why there is such a thing: when this fails, Envoy does it by itself."""
    async with world(tmp_path) as made:
        to = await made.call("onprem", "cloud")
        made.shut_out("cloud", by="onprem")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            await to.goes_on()


async def test_calls_of_a_barred_address_end_and_those_of_others_do_not(tmp_path: Path) -> None:
    async with world(tmp_path) as made, severing(made["onprem"]) as agent:
        barred = await made.call("onprem", "cloud")
        other, back = await made.call("onprem", "cloud", 2), await made.call("cloud", "onprem")
        agent.notices.put(Notice("1", (made.source("onprem"),)))
        await barred.ends()
        await other.goes_on()
        await back.goes_on()


async def test_what_a_thief_has_open_ends_when_its_workload_is_revoked_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    """Also what opened after the news, as one that was asked for before may."""
    async with world(tmp_path) as made, severing(made["cloud"], most=1) as agent:
        thief = Thief(made["onprem"], made["cloud"])
        port = made.built.vip("onprem", "cloud")[1]
        stolen = await thief.call("cloud", port)
        made.tasks.create_task(stolen.listen())
        others = [await made.call("onprem", "cloud", 2), await made.call("edge", "cloud")]
        await stolen.goes_on()
        agent.notices.put(Notice("1", revoked=(thief.spiffe_id,)))
        await stolen.ends()
        again = await thief.call("cloud", port)
        made.tasks.create_task(again.listen())
        await again.ends()
        # Four lines were written, and the file is begun anew whenever there is one in it.
        files = list(made["cloud"].folder.glob("tunnels.jsonl*"))
        assert 0 < sum(len(file.read_text().splitlines()) for file in files) < 4
        for call in others:
            await call.goes_on()
