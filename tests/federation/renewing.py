"""A federation without its wires, by a clock that a test sets: a hub that certifies, agents that renew."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from clusters.identity import ClusterIdentity, Membership, load_identity
from clusters.model import Federation
from clusters.names import ClusterName
from clusters.reattest import asked
from clusters.reports import Anchors
from clusters.succession import load_retiring
from federation.agent_upkeep import Upkeep
from federation.anchoring import Anchoring
from federation.api.http import ApiError
from federation.api.reattest import BackDoor
from federation.doorkeeper import Doorkeeper
from federation.errors import HubAway, IssuanceDenied
from federation.hub_authority import HubAuthority
from federation.identity import Identity
from federation.issuance.issuance import Issuance
from federation.issuance.messages import Lagging, RenewRequest, RetireRequest, StandingRequest
from federation.programming import Programmes
from federation.registry.members import JoinRequest
from federation.registry.mirror import Mirror
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.renewal import Renewal
from federation.roots import Roots, kept_in
from federation.svids import Svid, Svids
from gateway.rpc import Peer
from gateway.spec import GatewaySpec, Role
from pki.authority import Authority, from_pem, to_pem
from pki.bundle import fingerprint_of, spiffe_id_of
from pki.csr import make_csr, verify_csr
from pki.lifetimes import GRACE, SVID_LIFETIME
from pki.signer import KeySigner
from pki.spiffe import agent_id
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, DOMAIN, ONPREM, VIP_RANGES, audit, view, workload


@dataclass
class Clock:
    """The one clock, unless an agent has one of its own."""

    time: datetime = NOW

    def __call__(self) -> datetime:
        return self.time

    def goes_on(self, span: timedelta) -> None:
        self.time += span


@dataclass
class Member:
    """One agent's renewal, and its link to the hub, which may be cut."""

    world: "World"
    name: ClusterName
    state: Path
    clock: Clock
    svid_lifetime: timedelta = SVID_LIFETIME
    away: bool = False
    frozen: bool = False
    dies_at: str = ""
    calls: list[str] = field(default_factory=list)
    identity: Identity = field(init=False)
    roots: Roots = field(init=False)
    wanted: Callable[[Sequence[x509.Certificate]], bool] = field(default=lambda _: True)
    svids: Svids = field(init=False)
    renewal: Renewal = field(init=False)
    upkeep: Upkeep = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with what is on the disk, as after kill -9."""
        self.identity = Identity(load_identity(self.state), load_retiring(self.state))
        self.svids = Svids(self.identity.authority, lifetime=self.svid_lifetime, jitter=lambda: 0.5)
        self.roots = Roots(
            self.identity.kept.roots, lambda: self.identity.authority.chain, kept_in(self.state)
        )
        self.renewal = Renewal(
            self.state,
            self.identity,
            self.roots,
            self,
            lambda: self.svids.issue_by(self.identity.authority),
            self.clock,
            audit(),
            svid_lifetime=self.svid_lifetime,
            frozen=lambda: self.frozen,
            wanted=lambda chain: self.wanted(chain),
        )
        offered = view(home=self.name, workloads=(workload("web", "192.0.2.7"),))
        programmes = Programmes(offered, self.trust_domain, self.svids, self.clock)
        programmes.catalogue_of(GatewaySpec("gw", frozenset(Role)))
        self.upkeep = Upkeep(
            self.renewal, self.svids, programmes, self.own_svid, lambda: None, tuple, lambda: None, self.clock
        )

    @property
    def trust_domain(self) -> str:
        return self.identity.membership.trust_domain

    def own_svid(self) -> Svid:
        """The agent's own."""
        return self.svids.get(agent_id(self.trust_domain), self.clock())

    @property
    def anchor(self) -> str:
        """The fingerprint of the issuing CA that signs."""
        return fingerprint_of(to_pem([self.identity.authority.certificate]))

    @property
    def peer(self) -> Peer:
        """As the hub sees it, if TLS lets it through: what it shows is valid."""
        svid = self.own_svid()
        (leaf, *_) = from_pem(svid.chain_pem)
        return Peer("ipv4:192.0.2.1:1", spiffe_id_of(leaf), svid.chain_pem)

    async def hear(self, told: Federation) -> None:
        """Trust the roots that the hub tells of, and want to be of the one that signs."""
        await self.roots.follow(told, self.clock())
        self.wanted = lambda chain: self.roots.lead(chain, told.signing)

    # --- the hub, as `Renewal` asks it

    async def renew(self, csr: str) -> tuple[str, ...]:
        peer = self._asked("renew")
        answer = await self.world.issuance.renew(peer, RenewRequest(csr, self.clock()))
        self._answered("renew")
        return answer.chain

    async def reattest(self, csr: str) -> tuple[str, ...]:
        self._reached("reattest")
        try:
            request = asked(self.identity.kept, csr, self.clock())
            return (await self.world.back_door.reattest(request)).chain
        except ApiError as error:
            raise IssuanceDenied(error.code, str(error), error.hint) from error

    async def standing(self, anchor: str) -> tuple[Lagging, ...]:
        return (await self.world.issuance.standing(self._asked("standing"), StandingRequest(anchor))).lagging

    async def retire(self, anchor: str) -> None:
        await self.world.issuance.retire(self._asked("retire"), RetireRequest(anchor, self.clock()))
        self._answered("retire")

    def _asked(self, what: str) -> Peer:
        self._reached(what)
        return self.peer

    def _reached(self, what: str) -> None:
        self.calls.append(what)
        if self.away:
            raise HubAway("it is away")

    def _answered(self, what: str) -> None:
        if self.dies_at == what:
            raise HubAway("the answer was lost")


@dataclass
class World:
    """The hub's parts, and its members."""

    clock: Clock
    folder: Path
    pki: Authorities
    authority: HubAuthority
    registry: Registry
    mirror: Mirror
    anchoring: Anchoring
    issuance: Issuance
    back_door: BackDoor
    members: dict[ClusterName, Member] = field(default_factory=dict)

    async def join(
        self,
        name: ClusterName,
        *,
        rejoin: bool = False,
        clock: Clock | None = None,
        svid_lifetime: timedelta = SVID_LIFETIME,
    ) -> Member:
        """Have a cluster join, with an identity on a disk of its own."""
        token = TokenRecord(
            f"t-{name}-{rejoin}", "hash", name, self.clock(), self.clock() + timedelta(hours=1)
        )
        await self.registry.tokens.add(token)
        signer, state = KeySigner.generate(), self.folder / f"{name}{'-again' if rejoin else ''}"
        key = verify_csr(make_csr(signer.key))
        chain = self.authority.sign_issuing_ca(key, name, self.clock())
        trust_domain = f"{name}.{DOMAIN}"
        request = JoinRequest(token.id, "hash", name, rejoin)
        await self.registry.members.join(request, trust_domain, "".join(chain), self.clock())
        issuing, *above = (from_pem(pem)[0] for pem in chain)
        membership = Membership(name, DOMAIN, trust_domain, ("192.0.2.1:7444",), (), ("192.0.2.1:7443",))
        authority = Authority(issuing, tuple(above), signer)
        state.mkdir()
        ClusterIdentity(membership, authority, signer, (self.authority.root,)).save(state)
        member = self.members[name] = Member(self, name, state, clock or self.clock, svid_lifetime)
        self.anchoring.connected(name)
        async with asyncio.timeout(10):
            while name not in self.mirror.clusterset.clusters:  # noqa: ASYNC110  a task applies it
                await asyncio.sleep(0.001)
        return member

    async def anchors(self, name: ClusterName) -> tuple[str, ...]:
        """The fingerprints of a cluster's anchors that count."""
        return tuple(map(fingerprint_of, (await self.registry.members.get(name)).anchors))

    async def acknowledge(self, *by: ClusterName, gateway: str = "gw") -> None:
        """Have the agents of the clusters *by* (or all), and a gateway of each, say what they have."""
        known = {str(name): await self.anchors(name) for name in sorted(self.members)}
        for name in by or tuple(self.members):
            said: dict[str, Anchors | None] = {
                each: Anchors("" if each == "/agent" else each, dict(known)) for each in ("/agent", gateway)
            }
            self.anchoring.hear(name, said)


@asynccontextmanager
async def federation(
    folder: Path,
    authority: HubAuthority | None = None,
    clock: Clock | None = None,
    grace: timedelta = GRACE,
    outside: timedelta = timedelta(),
) -> AsyncIterator[World]:
    """A hub without members; without *authority* it has one whose keys are on no disk."""
    clock = clock or Clock()
    pki = Authorities(clock())
    if authority is None:
        authority = HubAuthority(DOMAIN, pki.root.certificate, pki.hub_ca)
    store = await SqliteStore.open(folder / "registry.db")
    registry, mirror = Registry(store, 100), Mirror(store)
    await registry.set_federation(Federation(DOMAIN, authority.roots, VIP_RANGES))
    changes = mirror.changes()
    await anext(changes)

    async def follow() -> None:
        async for _ in changes:
            pass

    following = asyncio.create_task(follow())
    anchoring, doorkeeper = Anchoring(), Doorkeeper(registry.members, DOMAIN, clock)
    issuance = Issuance(
        authority, registry, mirror.clusterset, anchoring, doorkeeper, clock, audit(), grace, outside
    )
    back_door = BackDoor(registry, issuance, grace, clock, audit())
    try:
        yield World(clock, folder, pki, authority, registry, mirror, anchoring, issuance, back_door)
    finally:
        following.cancel()
        await asyncio.wait([following])
        await store.close()


async def pair(world: World) -> tuple[Member, Member]:
    """Two members, of which each has acknowledged what there is."""
    onprem, cloud = await world.join(ONPREM), await world.join(CLOUD)
    await world.acknowledge()
    return onprem, cloud


async def until(step: Callable[[], bool], member: Member, tries: int = 10) -> None:
    """Advance *member* until it has come so far."""
    for _ in range(tries):
        if step():
            return
        await member.renewal.advance()
    raise AssertionError("it did not come about")
