"""What a hub serves: members' streams and joins, administration, and SPIFFE bundles."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version

from clusters.clock import utc_now
from federation import paths
from federation.api.authorities import add_authorities
from federation.api.http import served_on_socket, served_on_tls
from federation.api.hub import hub_application
from federation.api.hub_face import Hub
from federation.api.hubs import add_hubs
from federation.api.join import Door, join_application
from federation.api.reattest import BackDoor, add_reattest
from federation.broadcast import Broadcast
from federation.doorkeeper import Doorkeeper
from federation.hub_core import Core
from federation.issuance.issuance import Issuance
from federation.issuance.server import issuance_handler
from federation.own_address import is_wildcard, joined
from federation.registry.clusterset import Change, Clusterset
from federation.registry.records import HubRecord
from federation.rollover.face import Witness
from federation.sessions import Sessions
from federation.settings import host_port
from federation.sync.server import SyncServer
from federation.sync.turns import Turns
from federation.trust.fetching import fetch
from federation.trust.follower import Follower
from federation.trust.serving import WebCertificate, bundles_served
from federation.whereabouts import each_once
from gateway.rpc import TlsListener
from pki.bundle import fingerprint, root_of


@dataclass(frozen=True, slots=True)
class Members:
    """What serves members. *addresses* are where their streams go, and *since* is when that began."""

    core: Core
    broadcast: Broadcast
    sessions: Sessions
    sync: SyncServer
    addresses: tuple[str, ...]
    since: datetime

    @property
    def clusterset(self) -> Clusterset:
        """What is known of them."""
        return self.core.mirror.clusterset

    def record(self) -> HubRecord:
        """What everybody is to know of this hub."""
        core = self.core
        root = root_of(core.certificate.chain, core.authority.certificates)
        return HubRecord(
            core.election.name,
            core.election.instance,
            core.addresses,
            self.addresses,
            version("fedgate"),
            self.since,
            fingerprint(root) if root else "",
        )


async def serve_members(core: Core, first: Change, stack: AsyncExitStack) -> Members:
    """Serve streams and joins until *stack* is left; *first* is the mirror's first change."""
    settings, audit, registry, authority = core.settings, core.audit, core.registry, core.authority
    broadcast = Broadcast(core.mirror.clusterset)
    broadcast.follow(first)
    doorkeeper = Doorkeeper(registry.members, settings.domain, utc_now)
    turns = Turns()
    sessions = Sessions(registry, broadcast, utc_now, doorkeeper, audit, turns)
    sync = SyncServer(sessions.session, turns, admit=sessions.admit, version=version("fedgate"))
    clusterset = core.mirror.clusterset
    issuance = Issuance(
        authority,
        registry,
        clusterset,
        core.hearsay.anchoring,
        doorkeeper,
        utc_now,
        audit,
        settings.grace,
        settings.heard_outside,
    )
    listener = TlsListener(settings.sync_listen, core.certificate.material)
    serving = sync.serving([listener], [issuance_handler(issuance, audit)])
    (port,) = await stack.enter_async_context(serving)
    addresses = tuple(joined(host, port) for host in core.hosts)

    def sync_at() -> tuple[str, ...]:
        return each_once(addresses, clusterset.federation.sync if clusterset.federation else ())

    face = join_application(Door(authority, registry, sync_at, settings.vip_ranges, utc_now, audit))
    add_reattest(face, BackDoor(registry, issuance, settings.grace, utc_now, audit))
    Witness(core.steward).add_to(face)
    host, port = host_port(settings.listen)
    port = await stack.enter_async_context(served_on_tls(face, host, port, core.certificate.tls))
    core.steward.own_addresses = _beside(host, port)
    return Members(core, broadcast, sessions, sync, addresses, utc_now())


async def serve_operators(core: Core, members: Members, stack: AsyncExitStack) -> Follower:
    """Serve administration until *stack* is left; gives who follows foreign bundles."""
    settings, clusterset = core.settings, members.clusterset

    def join_at() -> tuple[str, ...]:
        return each_once(core.addresses, clusterset.federation.join if clusterset.federation else ())

    follower = Follower(core.registry.trusts, clusterset, utc_now, fetch)
    hub = Hub(
        core.authority,
        core.registry,
        clusterset,
        core.hearsay.probing,
        core.hearsay.anchoring,
        join_at,
        utc_now,
        core.upkeep.rotate,
        core.audit,
        follower,
    )
    more = (partial(add_authorities, core.steward), partial(add_hubs, clusterset))
    face = hub_application(hub, more=more)
    await stack.enter_async_context(served_on_socket(face, paths.admin_socket(settings.state)))
    if settings.admin_listen:
        face = hub_application(hub, settings.admin_token_file, more)
        where = host_port(settings.admin_listen)
        await stack.enter_async_context(served_on_tls(face, *where, core.certificate.tls))
    return follower


async def serve_bundles(core: Core, stack: AsyncExitStack) -> WebCertificate | None:
    """Serve SPIFFE bundles until *stack* is left, if that is asked for; gives the operator's certificate."""
    settings = core.settings
    web = None
    if settings.bundle_cert and settings.bundle_key:
        web = WebCertificate(settings.bundle_cert, settings.bundle_key)
    if settings.bundle_listen:
        shown = web.tls if web else core.certificate.tls
        await stack.enter_async_context(bundles_served(settings, core.mirror, shown))
    return web


def _beside(host: str, port: int) -> tuple[str, ...]:
    """Where the hub itself finds what it serves at *host*."""
    return tuple(joined(each, port) for each in (("127.0.0.1", "::1") if is_wildcard(host) else (host,)))
