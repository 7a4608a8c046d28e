"""A cluster's agent, put together: source and hub on one side, gateways and name server on the other.

It works, and starts, without the hub: the last view is on disk. What changes is taken in by
`Knowledge`, and followed here by everybody who serves something of it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version
from typing import Final

import uvloop

from clusters.clock import utc_now
from clusters.identity import ClusterIdentity, forget_identity, load_identity
from clusters.model import ClusterView, Federation, Offer, VipRange
from clusters.sources.file import Reading, watch
from federation import last_view, paths
from federation.api.agent import Facts, agent_application
from federation.api.enrol import Enrolment, EnrolmentTls, enrol_application
from federation.api.http import ApiError, served_on_socket, served_on_tls
from federation.dns.forward import Forwarder, Upstream
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from federation.knowledge import Knowledge, Learned, exports
from federation.last_view import LastView, Received
from federation.lifecycle import Stop, use_all_descriptors
from federation.log import Log
from federation.programming import Programmes
from federation.settings import AgentSettings, host_port
from federation.svids import Svid, Svids
from federation.sync import records
from federation.sync.client import LinkState, SyncClient
from federation.sync.exchange import Session
from federation.sync.frames import Hello
from gateway.ads import Ads, GatewayStatus
from gateway.delta import Catalogue, Resource
from gateway.rpc import Listener, Peer, TlsListener, TlsMaterial, UnixListener
from gateway.spec import GatewaySpec
from pki import keystore
from pki.authority import to_pem
from pki.errors import PkiError
from pki.spiffe import agent_id
from pki.tokens import Token

log = Log(__name__)

_RENEWAL_TICK: Final = 5.0
_SAVE_TICK: Final = 1.0
_LEAVE_TIMEOUT: Final = 10.0


def run(settings: AgentSettings) -> None:
    """Run the agent until it is told to stop."""
    use_all_descriptors()
    with keystore.exclusive(settings.state):
        uvloop.run(_serve(settings, load_identity(settings.state)))


class Agent:
    """One cluster's agent: what it knows, and what follows from that."""

    def __init__(self, settings: AgentSettings, identity: ClusterIdentity, last: LastView | None) -> None:
        self.reading = Reading()
        self.ready = last is not None
        self.left = False
        self.zone = Zone()
        self.published = Catalogue()
        self._offered = asyncio.Event()
        self._settings = settings
        self._membership = membership = identity.membership
        roots = tuple(to_pem([root]) for root in identity.roots)
        received = (
            last.received if last else Received(Federation(membership.domain, roots, membership.vip_ranges))
        )
        self._svid_store = Svids(identity.authority)
        self._roots = "".join(roots)
        own_ranges = tuple(VipRange(cidr) for cidr in settings.vip_ranges)
        self.knowledge = Knowledge(self._membership.cluster, received, identity.roots, own_ranges, utc_now)
        self.enrolment = Enrolment(identity, utc_now)
        self.programmes = Programmes(self.view, self._membership.trust_domain, self._svid_store, utc_now)
        self.ads = Ads(self._catalogue_for)
        session = Session(self.published, self._accept, self.knowledge.held())
        self.sync = SyncClient(self._membership.sync, self.material, self._hello, session)
        self.zone.update(self.view, self.view.imports)
        self.knowledge.follow(self._followed)
        if last:
            self._offer(last.offer)

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

    def svids(self) -> tuple[Svid, ...]:
        """The SVIDs that may be in use."""
        return self._svid_store.all()

    def create_gateway_token(self, name: str, role: str, ttl: timedelta) -> Token:
        """Make a token for a gateway on another machine; an error if there is nowhere to enrol."""
        if not self._settings.enrol_listen or not self._settings.ads_listen:
            raise ApiError(
                409,
                "enrolment-off",
                "this agent does not serve gateways on other machines",
                "start it with --enrol-listen ADDRESS:PORT and --ads-listen ADDRESS:PORT",
            )
        return self.enrolment.create(name, role, ttl, (self._settings.enrol_listen,))

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
            self._offer(reading.offer)
            log.info("source read", services=len(reading.offer.services))

    def _offer(self, offer: Offer) -> None:
        self.knowledge.offer(offer)
        self._offered.set()

    def material(self) -> TlsMaterial:
        """What the agent shows to hub and gateways, and whom it believes."""
        svid = self._svid_store.get(agent_id(self._membership.trust_domain), utc_now())
        return TlsMaterial(svid.chain_pem, svid.key_pem, self._roots)

    def _hello(self) -> Hello:
        return Hello(
            self._membership.cluster, utc_now(), version("fedgate"), vip_ranges=self._settings.vip_ranges
        )

    async def _accept(self, kind: str, changes: Mapping[str, bytes | None]) -> None:
        await self.knowledge.accept(kind, changes)
        self.ready = True

    def _followed(self, learned: Learned) -> None:
        """Bring everything that is served to what is known now."""
        self.programmes.follow(learned.view)
        self.zone.update(learned.view, learned.services)
        self._publish(learned.view.offer)

    def _publish(self, offer: Offer) -> None:
        services = {str(name): records.encode(export) for name, export in exports(offer).items()}
        self.published.replace(records.EXPORT, services)
        self.published.replace(records.GATEWAY, {g.name: records.encode(g) for g in offer.gateways})

    async def _catalogue_for(self, peer: Peer, spec: GatewaySpec) -> Catalogue:
        """Whoever comes by the unix socket is this user; all others are who their certificate says."""
        if not peer.address.startswith("unix:"):
            self.enrolment.check(peer, spec)
        return self.programmes.catalogue_of(spec)

    # --- tasks

    async def follow_source(self, readings: AsyncIterator[Reading]) -> None:
        """Take in every change of the source."""
        async for reading in readings:
            self.read(reading)

    async def follow_hub(self) -> None:
        """Keep the link to the hub, once the source was read: before, it would be told of nothing."""
        await self._offered.wait()
        await self.sync.run()

    async def renew(self) -> None:
        """Renew what is due, for ever."""
        while True:
            await asyncio.sleep(_RENEWAL_TICK)
            if self._svid_store.is_due(utc_now()):
                self.programmes.renew()
                self._svid_store.drop_expired(utc_now())

    async def remember(self) -> None:
        """Keep the view on disk, soon after each change."""
        saved: ClusterView | None = None
        while True:
            if self.view is not saved:
                saved, last = self.view, self.last_view()
                await asyncio.to_thread(last_view.save, self._settings.state, last)
            await asyncio.sleep(_SAVE_TICK)

    def last_view(self) -> LastView:
        """What a start without hub and source would need."""
        return LastView(self.knowledge.received, self.view.offer)


async def _serve(settings: AgentSettings, identity: ClusterIdentity) -> None:
    """Start everything, gateways first, and run until told to stop."""
    stop = Stop()
    agent = Agent(settings, identity, last_view.load(settings.state))
    readings = watch(settings.source) if settings.source else _no_source()
    agent.read(await anext(readings))
    dns = DnsServer.bind(settings.dns_listen, agent.zone, _forwarder(settings))
    faces: list[EnrolmentTls] = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agent.ads.serving(_ads_listeners(settings, agent)))
        admin = agent_application(agent, _facts(settings, identity, dns), stop.tell)
        await stack.enter_async_context(served_on_socket(admin, paths.admin_socket(settings.state)))
        if settings.enrol_listen:
            face = enrol_application(agent.enrolment, identity, lambda: settings.ads_listen or "")
            tls = EnrolmentTls(settings.state, agent.material)
            await stack.enter_async_context(
                served_on_tls(face, *host_port(settings.enrol_listen), tls.context)
            )
            faces.append(tls)
        log.info("agent started", cluster=identity.membership.cluster, state=settings.state)
        await stop.run(
            agent.follow_source(readings),
            agent.follow_hub(),
            agent.renew(),
            agent.remember(),
            dns.run(),
            *(_keep_fresh(tls) for tls in faces),
        )
    if agent.left:
        forget_identity(settings.state)
        last_view.forget(settings.state)
    else:
        last_view.save(settings.state, agent.last_view())


async def _no_source() -> AsyncIterator[Reading]:
    """What an agent without a source reads: that its cluster offers nothing."""
    yield Reading(Offer())
    await asyncio.Event().wait()


def _forwarder(settings: AgentSettings) -> Forwarder | None:
    upstreams = [Upstream.parse(address) for address in settings.dns_forward]
    return Forwarder(upstreams) if upstreams else None


def _ads_listeners(settings: AgentSettings, agent: Agent) -> list[Listener]:
    listeners: list[Listener] = [UnixListener(paths.ads_socket(settings.state))]
    if settings.ads_listen:
        listeners.append(TlsListener(settings.ads_listen, agent.material))
    return listeners


async def _keep_fresh(tls: EnrolmentTls) -> None:
    """Have those who enrol be shown a certificate that is good, for ever."""
    while True:
        await asyncio.sleep(_RENEWAL_TICK)
        try:
            tls.refresh()
        except PkiError as error:
            log.error("enrolment's certificate not renewed", reason=str(error))


def _facts(settings: AgentSettings, identity: ClusterIdentity, dns: DnsServer) -> Facts:
    return Facts(
        identity.membership.trust_domain,
        str(settings.source) if settings.source else "none",
        settings.dns_forward,
        identity.authority.certificate.not_valid_after_utc,
        dns,
    )
