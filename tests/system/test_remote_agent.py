"""A gateway whose agent is on another machine: mutual TLS both ways, renewed certificates. A real Envoy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.admin import Admin
from gateway.ads import Ads
from gateway.binary import arguments, find_envoy
from gateway.bootstrap import RemoteAgent, admin_socket, bootstrap_file
from gateway.delta import Catalogue
from gateway.errors import EnvoyFailed
from gateway.proxy import ProxySettings, prepare
from gateway.rpc import Peer, TlsListener, TlsMaterial
from gateway.spec import GatewaySpec, Role
from pki import profile
from pki.authority import Authority, to_pem
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, agent_id, gateway_id
from tests.authorities import Authorities
from tests.system.mesh import until

pytestmark = pytest.mark.envoy

DOMAIN = "onprem.fed.example"
GATEWAY = gateway_id(DOMAIN, "egress", "gw")


def material(authorities: Authorities, issuer: Authority, spiffe_id: SpiffeId) -> TlsMaterial:
    signer = KeySigner.generate()
    certificate = issuer.issue(profile.svid(spiffe_id), signer.public_key(), authorities.now)
    chain = to_pem([certificate, *issuer.chain])
    return TlsMaterial(chain, signer.private_pem().decode(), to_pem([authorities.root.certificate]))


class Remote:
    """An agent that serves ADS on TCP, and a gateway that has enrolled with it."""

    def __init__(self, folder: Path) -> None:
        self.authorities = Authorities(datetime.now(UTC))
        self.issuer = self.authorities.issuing_ca("onprem")
        self.folder = folder
        self.agent = material(self.authorities, self.issuer, agent_id(DOMAIN))
        self.peers: list[Peer] = []
        self.renew()

    def renew(self) -> str:
        """Give the gateway a new certificate, as enrolment would; returns the chain."""
        shown = material(self.authorities, self.issuer, GATEWAY)
        written = (("gateway.key", shown.key), ("gateway.pem", shown.chain), ("roots.pem", shown.roots))
        for name, text in written:
            new = self.folder / f".{name}"
            new.write_text(text)
            new.replace(self.folder / name)
        return shown.chain

    async def catalogue_for(self, peer: Peer, _spec: GatewaySpec) -> Catalogue:
        self.peers.append(peer)
        return Catalogue()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        listener = TlsListener(f"127.0.0.1:{port}", lambda: self.agent)
        async with Ads(self.catalogue_for).serving([listener]) as (bound,):
            yield bound

    @asynccontextmanager
    async def gateway(self, port: int) -> AsyncIterator[Admin]:
        """The gateway's Envoy, running."""
        files = (self.folder / name for name in ("gateway.pem", "gateway.key", "roots.pem"))
        certificate, key, roots = files
        agent = RemoteAgent("127.0.0.1", port, certificate, key, roots, str(agent_id(DOMAIN)))
        spec = GatewaySpec("gw", frozenset({Role.EGRESS}))
        settings = ProxySettings(spec, agent, self.folder / "run")
        prepare(settings)
        with (self.folder / "envoy.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *arguments(find_envoy(), bootstrap_file(settings.folder), concurrency=1),
                stdout=log,
                stderr=log,
            )
        try:
            async with Admin(admin_socket(settings.folder)) as admin:
                yield admin
        finally:
            process.kill()
            await process.wait()

    async def connections(self, count: int) -> None:
        async def connected() -> bool:
            return len(self.peers) >= count

        await until(connected, what=f"connection {count} of the gateway")


async def test_the_agent_sees_who_the_gateway_is(tmp_path: Path) -> None:
    remote = Remote(tmp_path)
    async with remote.serving() as port, remote.gateway(port) as admin:
        await remote.connections(1)
        await until(admin.is_live, what="the gateway to be live")
    assert remote.peers[0].spiffe_id == GATEWAY


async def test_a_renewed_certificate_is_shown_at_the_next_connection_without_a_restart(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    async with AsyncExitStack() as stack:
        async with remote.serving() as port:
            admin = await stack.enter_async_context(remote.gateway(port))
            await remote.connections(1)
            before = await updates(admin)
            chain = remote.renew()

            async def taken() -> bool:
                return await updates(admin) > before

            await until(taken, what="the renewed certificate to be read")
        async with remote.serving(port):
            await remote.connections(2)
    assert remote.peers[-1].chain == chain


async def updates(admin: Admin) -> int:
    """How often the gateway has taken new certificates for its agent's connection."""
    return sum((await admin.stats(r"^cluster\.agent\..*ssl_context_update_by_sds$")).values())


@pytest.mark.parametrize("impostor", [GATEWAY, agent_id("cloud.fed.example")], ids=["gateway", "other agent"])
async def test_who_is_not_the_agent_is_not_listened_to(impostor: SpiffeId, tmp_path: Path) -> None:
    remote = Remote(tmp_path)
    issuer = remote.authorities.issuing_ca(impostor.trust_domain.partition(".")[0])
    remote.agent = material(remote.authorities, issuer, impostor)
    async with remote.serving() as port, remote.gateway(port) as admin:
        await until(lambda: _refused(admin), what="the agent to be refused")
    assert remote.peers == []


async def _refused(admin: Admin) -> bool:
    try:
        return sum((await admin.stats(r"^cluster\.agent\.ssl\.fail_verify_san$")).values()) > 0
    except EnvoyFailed:  # not up yet
        return False
