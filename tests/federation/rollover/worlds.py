"""A hub with its door and a registry, and agents that trust what it tells them: no streams, real TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clusters.model import Federation
from clusters.names import ClusterName
from clusters.trust import Trust, UnusedToken
from federation.api.http import served_on_tls
from federation.api.join import Door, join_application
from federation.hub_authority import Vault, create_at_first
from federation.hub_certificate import HubCertificate
from federation.registry.members import JoinRequest
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.rollovers import told
from federation.registry.sqlite import SqliteStore
from federation.rollover.face import Witness
from federation.rollover.files import settle
from federation.rollover.phases import Party
from federation.rollover.prover import Prover
from federation.rollover.steward import Steward
from federation.rollover.trusting import Trusting
from federation.roots import Roots, kept_in
from gateway.rpc import TlsMaterial
from pki.authority import Authority, from_pem, to_pem
from pki.csr import make_csr, verify_csr
from pki.profile import svid
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, agent_id, trust_domain_of
from tests import builders
from tests.builders import DOMAIN


def utc_now() -> datetime:
    return datetime.now(UTC)  # TLS goes by the machine's clock


@dataclass
class Hub:
    """A hub that runs, until it is killed: its steward, and where its door is."""

    steward: Steward
    address: str

    @property
    def registry(self) -> Registry:
        return self.steward.registry

    async def told(self) -> Federation:
        federation = await self.registry.federation()
        assert federation is not None
        return federation

    async def party(self, name: str) -> Party:
        return next(party for party in await self.steward.parties() if party.name == name)

    async def join(self, name: str, folder: Path) -> "Agent":
        """Have a cluster join, as by its door."""
        cluster, key = ClusterName(name), KeySigner.generate()
        token = TokenRecord(f"t-{name}", "hash", cluster, utc_now(), utc_now() + timedelta(hours=1))
        await self.registry.tokens.add(token)
        agent = Agent(cluster, folder, Roots(self.steward.authority.certificates, tuple, kept_in(folder)))
        agent.renew(self, key)
        request = JoinRequest(token.id, "hash", cluster)
        anchor = to_pem(agent.authority.chain)
        await self.registry.members.join(request, trust_domain_of(name, DOMAIN), anchor, utc_now())
        kept_in(folder)(agent.roots.pem)
        return agent


@dataclass
class Agent:
    """An agent as the hub sees it: its roots, its issuing CA, and what it says."""

    cluster: ClusterName
    state: Path
    roots: Roots
    federation: Federation = field(default_factory=builders.federation)
    said: Trust | None = None
    behind: str = ""
    tokens: tuple[UnusedToken, ...] = ()

    def __post_init__(self) -> None:
        self.roots = Roots(self.roots.certificates, lambda: self.authority.chain, kept_in(self.state))
        self.prover = Prover(
            self.state,
            self.roots,
            lambda: self.federation,
            self.material,
            lambda: self.behind,
            self.say,
            lambda: self.tokens,
        )

    def say(self, trust: Trust) -> None:
        self.said = trust

    def renew(self, hub: Hub, key: KeySigner) -> None:
        """Have the hub sign an issuing CA for *key*."""
        chain = hub.steward.authority.sign_issuing_ca(verify_csr(make_csr(key.key)), self.cluster, utc_now())
        certificate, *above = (from_pem(each)[0] for each in chain)
        self.authority = Authority(certificate, tuple(above), key)

    async def reissue(self, hub: Hub) -> None:
        """Have an issuing CA by what signs now, and no other."""
        self.renew(hub, KeySigner.generate())
        await hub.registry.members.set_anchors(self.cluster, (to_pem(self.authority.chain),))

    def material(self, spiffe_id: SpiffeId | None = None) -> TlsMaterial:
        """A certificate of the agent's own, or of somebody else in its cluster."""
        key = KeySigner.generate()
        profile = svid(spiffe_id or agent_id(trust_domain_of(self.cluster, DOMAIN)))
        certificate = self.authority.issue(profile, key.public_key(), utc_now())
        chain = to_pem([certificate, *self.authority.chain])
        return TlsMaterial(chain, key.private_pem().decode(), self.roots.pem)

    async def hear(self, hub: Hub) -> None:
        """Take what the hub tells, and answer, as over a stream."""
        self.federation = await hub.told()
        await self.roots.follow(self.federation, utc_now())
        self.prover.follow()
        self.tell(hub)

    def tell(self, hub: Hub) -> None:
        hub.steward.trusting.connected(self.cluster)
        hub.steward.trusting.hear(self.cluster, {"roots": self.said})

    async def prove(self, hub: Hub) -> None:
        """Prove what is to be proved, or say why not."""
        before = self.said
        proving = asyncio.create_task(self.prover.run())
        async with asyncio.timeout(20):
            while self.said == before:  # noqa: ASYNC110  what others do has no event to wait for
                await asyncio.sleep(0.01)
        proving.cancel()
        with suppress(asyncio.CancelledError):
            await proving
        self.tell(hub)


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[Hub]:
    """A hub on *state*, as the process puts it together."""
    vault = Vault(state)
    create_at_first(vault, DOMAIN, utc_now(), lambda: None)
    store = await SqliteStore.open(state / "registry.db")
    registry = Registry(store, 100)
    rollover = await registry.rollovers.get()
    authority = settle(vault, DOMAIN, rollover, utc_now())
    certificate = HubCertificate(state, authority, ("127.0.0.1",), builders.audit(), utc_now)
    steward = Steward(
        vault,
        authority,
        certificate,
        registry,
        Trusting(),
        (),
        builders.audit(),
        utc_now,
        "hub",
        lambda: registry,
        lambda _: {},
        rollover=rollover,
    )
    door = join_application(
        Door(authority, registry, lambda: ("127.0.0.1:1",), ("241.0.0.0/16",), utc_now, builders.audit())
    )
    Witness(steward).add_to(door)
    async with served_on_tls(door, "127.0.0.1", 0, certificate.tls) as port:
        address = f"127.0.0.1:{port}"
        steward.prove_at = steward.own_addresses = (address,)
        federation = builders.federation(roots=authority.roots[:1])
        await registry.set_federation(told(federation, authority.roots[0], rollover, (address,)))
        yield Hub(steward, address)
    await store.close()
