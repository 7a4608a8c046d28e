"""A cluster's agent: source and hub on one side, gateways and name server on the other.

It works, and starts, without the hub: the last view is on disk. What changes is taken in by
`Knowledge`, and followed here by everybody who serves something of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from operator import is_
from typing import Final

from clusters.clock import utc_now
from clusters.identity import ClusterIdentity
from clusters.latest import Latest
from clusters.model import ClusterView, Federation, Offer, VipRange, Workload
from clusters.reports import Notice, Report, ReportAnswer
from clusters.revoked import Revoked
from clusters.sources.file import Reading
from clusters.succession import load_retiring
from clusters.trust import Trust
from clusters.verdict import Verdict
from federation import inventory, judging, withholding
from federation.agent_anchors import AnchorTelling
from federation.agent_upkeep import Upkeep
from federation.api.enrol import Enrolment
from federation.api.http import ApiError
from federation.api.notices import notice_of
from federation.audit import Audit, shown
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from federation.doubting import Doubting
from federation.frontage import Frontage
from federation.fronts import Front
from federation.handover import Estate
from federation.health.checker import Checker
from federation.health.standings import Standings
from federation.identity import Identity
from federation.inventory import Held
from federation.issuance.client import HubIssuance
from federation.knowledge import Knowledge, Learned, export_of
from federation.last_view import LastView, Received
from federation.log import Log
from federation.own_address import reached_at
from federation.programming import Programmes
from federation.renewal import Renewal
from federation.revocations import Revocations
from federation.rollover.prover import Prover
from federation.roots import Roots, kept_in
from federation.settings import AgentSettings
from federation.svids import Svid, Svids
from federation.sync import records
from federation.sync.client import LinkState, SyncClient
from federation.sync.exchange import Session
from federation.sync.frames import Hello
from federation.whereabouts import Whereabouts
from federation.withholding import Withholding
from federation.workload.identities import Identities
from federation.workload.keyring import Keyring
from federation.workload.server import TICK, WorkloadApi
from federation.workload.tokens import Tokens
from gateway.ads import Ads, GatewayStatus
from gateway.delta import Catalogue, Resource
from gateway.rpc import Peer, TlsMaterial
from gateway.spec import GatewaySpec
from pki.errors import KeystoreError
from pki.spiffe import SpiffeId, agent_id
from pki.tokens import Token

log = Log(__name__)

_LEAVE_TIMEOUT: Final = 10.0


class Agent:
    """One cluster's agent: what it knows, and what follows from that."""

    def __init__(
        self, settings: AgentSettings, identity: ClusterIdentity, last: LastView | None, audit: Audit
    ) -> None:
        self.reading = Reading()
        self.ready = last is not None
        self.left = False
        self.zone = Zone()
        self.published = Catalogue()
        self.notices = Latest(Notice())
        cluster, hold = identity.membership.cluster, settings.hold_withdrawals
        self.withholding = Withholding(cluster, hold, self.published, utc_now)
        self.doubting = Doubting(hold)
        self._offered = asyncio.Event()
        self._settings = settings
        self._membership = membership = identity.membership
        self.identity = Identity(identity, load_retiring(settings.state))
        self.roots = Roots(identity.roots, lambda: self.identity.authority.chain, self._keep_roots)
        received = (
            last.received
            if last
            else Received(Federation(membership.domain, self.roots.each, membership.vip_ranges))
        )
        self._svid_store = Svids(
            identity.authority, lifetime=settings.svid_lifetime, minted=partial(_minted, audit)
        )
        self.roots.crosses = received.federation.crosses
        own_ranges = tuple(VipRange(cidr) for cidr in settings.vip_ranges)
        self.knowledge = Knowledge(
            membership.cluster,
            received,
            self.roots,
            own_ranges,
            utc_now,
            last.owners if last else None,
        )
        self._hubs = Whereabouts(lambda: self.view.federation, lambda: self._membership)
        self.enrolment = Enrolment(
            self.identity, self.roots, utc_now, audit, settings.svid_lifetime, lambda: self.prover.follow()
        )
        self.programmes = Programmes(self.view, self._membership.trust_domain, self._svid_store, utc_now)
        self.frontage = Frontage(lambda: self.view, self.zone, self.published, self.roots)
        self.anchors = AnchorTelling(self.gateways, self.fronts, self.published)
        self.ads = Ads(self._catalogue_for, moved=self.anchors.moved)
        self._audit = audit
        self._keyring = Keyring(
            settings.state,
            membership.trust_domain,
            identity.seal,
            changed=self._jwt_keys_changed,
            frozen=lambda: not self.owns_disk(),
        )
        self._publish_jwt_keys()
        self.workloads = self._workload_api(membership.trust_domain)
        self.prover = Prover(
            settings.state,
            self.roots,
            lambda: self.view.federation,
            self.material,
            self.frontage.behind,
            self._say_trust,
            self.enrolment.outdated,
        )
        session = Session(self.published, self._accept, self.knowledge.held())
        self.sync = SyncClient(self._hubs.sync, self.material, self._hello, session)
        self.owns_disk: Callable[[], bool] = lambda: False
        self.upkeep = self._upkeep(audit)
        self._checker = Checker(utc_now)
        self.revocations = Revocations(settings.state, membership.trust_domain)
        self._svid_store.refuse(self.revocations.ids)
        self._publish_revoked()
        self._workloads: tuple[Workload, ...] = ()
        self._who: tuple[object, ...] = (None,) * 5
        self.zone.update(self.view, self.view.imports)
        self.notices.set(notice_of(self.view))
        self.knowledge.follow(self._followed)
        self.prover.follow()
        if last:
            self._offer(last.offer)

    def _workload_api(self, trust_domain: str) -> WorkloadApi:
        identities = Identities(lambda: self.view, trust_domain, self._svid_store, utc_now)
        return WorkloadApi(
            identities,
            Tokens(lambda: self.view, trust_domain, identities, lambda: self._keyring.keys, utc_now),
        )

    def _upkeep(self, audit: Audit) -> Upkeep:
        """The renewals of this agent."""
        renewal = Renewal(
            self._settings.state,
            self.identity,
            self.roots,
            HubIssuance(self.identity, self.roots, self.material, utc_now, self._hubs),
            lambda: self._svid_store.issue_by(self.identity.authority),
            utc_now,
            audit,
            svid_lifetime=self._settings.svid_lifetime,
            frozen=lambda: not self.owns_disk(),
            wanted=lambda chain: self.roots.lead(chain, self.view.federation.signing),
        )
        return Upkeep(
            renewal,
            self._svid_store,
            self.programmes,
            self._own_svid,
            self.sync.renew,
            self.gateways,
            self.knowledge.reconsider,
            utc_now,
            (self._keyring,),
        )

    # --- what the admin API asks

    @property
    def view(self) -> ClusterView:
        """What is known now."""
        return self.knowledge.view

    @property
    def link(self) -> LinkState:
        """How the link to the hub stands."""
        return self.sync.state.value

    def gateways(self) -> tuple[GatewayStatus, ...]:
        """The gateways that are connected."""
        return self.ads.gateways()

    def fronts(self) -> tuple[Front, ...]:
        """The gateways that have reported."""
        return self.frontage.all()

    def hear(self, report: Report) -> ReportAnswer:
        """Take in how a gateway is."""
        return self.frontage.hear(report)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the hub says of that which is published here."""
        return tuple(self.knowledge.verdicts.values())

    @property
    def rejected(self) -> Mapping[str, Mapping[str, str]]:
        """What the hub has not taken, and why, by kind and name."""
        return self.sync.rejected

    @property
    def standings(self) -> Standings:
        """How the endpoints stand that are checked here."""
        return self._checker.standings

    @property
    def checks_made(self) -> Mapping[str, int]:
        """How many checks of endpoints had which outcome."""
        return self._checker.tally

    def svids(self) -> tuple[Svid, ...]:
        """The SVIDs that may be in use."""
        return self._svid_store.all()

    def certificates(self) -> tuple[Held, ...]:
        """All that it holds: roots, its issuing CA with what is above, the SVIDs, and its JWT keys."""
        above = zip(self.identity.authority.chain, ("issuing CA", "hub CA"), strict=False)
        return (
            *(inventory.of(root, "root") for root in self.roots.certificates),
            *(inventory.of(certificate, kind, self._membership.cluster) for certificate, kind in above),
            *map(inventory.of_svid, self.svids()),
            *inventory.of_jwt_keys(self._keyring.keys, self._membership.trust_domain, utc_now()),
        )

    def create_gateway_token(self, name: str, role: str, ttl: timedelta) -> Token:
        """Make a token for a gateway on another machine; an error if there is nowhere to enrol."""
        if not self._settings.enrol_listen or not self._settings.ads_listen:
            raise ApiError(
                409,
                "enrolment-off",
                "this agent does not serve gateways on other machines",
                "start it with --enrol-listen ADDRESS:PORT and --ads-listen ADDRESS:PORT",
            )
        return self.enrolment.create(name, role, ttl, (reached_at(self._settings.enrol_listen),))

    def revoke(self, spiffe_id: SpiffeId, *, undo: bool = False) -> None:
        """Make a workload of this cluster nobody, or take that back; raises NotOurWorkload or NotFound."""
        (self.revocations.undo if undo else self.revocations.revoke)(spiffe_id)
        self._svid_store.refuse(self.revocations.ids)
        self.knowledge.offer(self._admitted(replace(self.view.offer, workloads=self._workloads)))
        self._publish_revoked()

    async def leave(self) -> None:
        """Leave the clusterset: tell the hub, wait until it says so, and forget what came from it."""
        if not self.link.connected:
            raise ApiError(
                503, "hub-unreachable", "the hub is not connected", "leave when it is back: it has to be told"
            )
        cluster = self._membership.cluster
        self.published.update(records.LEAVE, {cluster: Resource.of(cluster, b"{}")})
        async with asyncio.timeout(_LEAVE_TIMEOUT):
            async for state in self.sync.state:
                if state.code == records.LEFT:
                    break
        self.knowledge.forget()
        self.left = True

    # --- following

    def read(self, reading: Reading) -> None:
        """Take in what the source says; one that cannot be used changes nothing."""
        self.reading = reading
        if reading.problems:
            log.warning("source not used", path=self._settings.source, problems="; ".join(reading.problems))
        elif reading.offer is not None:
            self._offer(self.withholding.take(self.view.offer, reading.offer))
            log.info("source read", services=len(reading.offer.services))

    def _offer(self, offer: Offer) -> None:
        self._workloads = offer.workloads
        self.knowledge.offer(self._checker.follow(self._admitted(offer)))
        self._offered.set()

    def _admitted(self, offer: Offer) -> Offer:
        """*offer* without the workloads that are revoked."""
        workloads = self.revocations.admitted(offer.workloads)
        return replace(offer, workloads=workloads, revoked=self.revocations.told)

    def material(self) -> TlsMaterial:
        """What the agent shows to hub and gateways, and whom it believes."""
        svid = self._own_svid()
        return TlsMaterial(svid.chain_pem, svid.key_pem, self.roots.pem)

    def material_abroad(self) -> TlsMaterial:
        """The same for gateways elsewhere, of which one may have been away since before a new root came."""
        own = self.material()
        return TlsMaterial(own.chain + "".join(self.roots.crosses), own.key, own.roots)

    def _own_svid(self) -> Svid:
        return self._svid_store.get(agent_id(self._membership.trust_domain), utc_now())

    def _keep_roots(self, pem: str) -> None:
        if not self.owns_disk():
            raise KeystoreError("the disk is that of another agent, which takes over")
        kept_in(self._settings.state)(pem)

    def _hello(self) -> Hello:
        return Hello(
            self._membership.cluster, utc_now(), version("fedgate"), vip_ranges=self._settings.vip_ranges
        )

    async def _accept(self, kind: str, changes: Mapping[str, bytes | None]) -> None:
        if kind == records.IMPORT:
            changes = self.doubting.sift(changes, len(self.view.imports), self.link, utc_now())
        await self.knowledge.accept(kind, changes)
        if kind == records.FEDERATION:
            self.prover.follow()
        self.ready = True

    def _followed(self, learned: Learned) -> None:
        """Bring everything that is served to what is known now."""
        view = learned.view
        self.programmes.follow(view)
        who = (view.federation, view.members, view.trusts, view.offer.workloads, self.revocations.ids)
        others = not all(map(is_, who, self._who))  # a service's change, as most are, is about nobody
        if others:
            self.notices.set(notice_of(view, self.revocations.barred(self._workloads)))
        self.frontage.answer(learned.services)
        if others:
            self._who = who
            self.workloads.follow()
        self._publish(learned)

    def _publish(self, learned: Learned) -> None:
        """Tell the hub of every service that may have changed; of one that has not it hears nothing."""
        offer = learned.view.offer
        exports: dict[str, Resource | None] = {}
        for name in learned.services:
            service = offer.services.get(name)
            exports[str(name)] = records.encode(export_of(service)) if service else None
        self.published.update(records.EXPORT, exports)
        self.published.replace(records.GATEWAY, self.frontage.dialled(offer))

    def _say_trust(self, trust: Trust) -> None:
        self.published.replace(records.TRUST, {records.ROOTS: records.encode(trust)})

    async def _catalogue_for(self, peer: Peer, spec: GatewaySpec) -> Catalogue:
        """Whoever comes by the unix socket is this user; all others are who their certificate says."""
        if not peer.address.startswith("unix:"):
            self.enrolment.check(peer, spec)
        return self.programmes.catalogue_of(spec)

    # --- tasks

    async def check_endpoints(self) -> None:
        """Send calls elsewhere when an endpoint is found to take none."""
        await self._checker.run(lambda: self.knowledge.offer(self.standings.applied(self.view.offer)))

    async def mind_withdrawals(self) -> None:
        """Believe the source in the end, or when somebody says that it is right; and the hub in the end."""
        while True:
            await asyncio.sleep(withholding.TICK)
            home = self.view.members.get(self.view.home)
            if self.withholding.ends(home.accepted if home else None) and self.reading.offer is not None:
                self._offer(self.reading.offer)
            if names := self.doubting.over(self.link, utc_now()):
                await self.knowledge.accept(records.IMPORT, dict.fromkeys(names))

    async def judge_absence(self) -> None:
        """Send calls nowhere that nobody hears of."""
        while True:
            await asyncio.sleep(judging.TICK)
            self.knowledge.judge(self.frontage.probes(), self.link)

    async def follow_source(self, readings: AsyncIterator[Reading]) -> None:
        """Take in every change of the source."""
        async for reading in readings:
            self.read(reading)

    async def follow_hub(self) -> None:
        """Keep the link to the hub, once the source was read: before, it would be told of nothing."""
        await self._offered.wait()
        await self.sync.run()

    async def tend_jwt_keys(self) -> None:
        """Have JWT keys that are good, and everybody know them, for ever."""
        await self._keyring.reload()
        while True:
            await self._keyring.rotate()
            await asyncio.sleep(TICK)

    def _jwt_keys_changed(self) -> None:
        kept = ", ".join(key.key_id for key in self._keyring.keys)
        self._audit.record("rotated", self._membership.trust_domain, jwt_keys=kept)
        self._publish_jwt_keys()
        self.workloads.follow()

    def _publish_jwt_keys(self) -> None:
        told = records.encode(self._keyring.published(self._membership.cluster))
        self.published.replace(records.JWT_KEYS, {told.name: told} if self._keyring.keys else {})

    def _publish_revoked(self) -> None:
        told = records.encode(Revoked(self._membership.cluster, self.revocations.told))
        self.published.replace(records.REVOKED, {told.name: told} if self.revocations.ids else {})

    def estate(self, lock: int, dns: DnsServer) -> Estate:
        """What another agent needs to take over."""
        specs = tuple(status.spec for status in self.gateways())
        reports = tuple(front.report for front in self.fronts() if not front.silent)
        return Estate(lock, dns.bound, self.last_view(), specs, reports)

    def expect(self, estate: Estate | None) -> None:
        """Have everything ready for the gateways that the other agent had, so that they find it done."""
        if estate is not None:
            for spec in estate.specs:
                self.programmes.catalogue_of(spec)
            self.frontage.inherit(estate.reports)
            self.anchors.settle()

    def last_view(self) -> LastView:
        """What a start without hub and source would need, and one that gateways do not notice."""
        return LastView(self.knowledge.received, self.view.offer, self.knowledge.owners)


def _minted(audit: Audit, svid: Svid) -> None:
    told = {"what": "SVID", "serial": f"{svid.serial:x}", "until": shown(svid.validity.not_after)}
    audit.record("issued", str(svid.spiffe_id), **told)
