"""The hub, put together: authorities, registry, joins, the members' streams, administration."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import uvloop

from clusters.clock import utc_now
from clusters.model import Federation, VipRange
from federation import paths, secret_files
from federation.anchoring import Anchoring
from federation.api.authorities import add_authorities
from federation.api.http import served_on_socket, served_on_tls
from federation.api.hub import Hub, hub_application
from federation.api.join import Door, join_application
from federation.api.reattest import BackDoor, add_reattest
from federation.audit import Audit
from federation.doorkeeper import Doorkeeper, evicted
from federation.hub_authority import HubAuthority, Vault
from federation.hub_certificate import HubCertificate
from federation.hub_upkeep import HubUpkeep
from federation.issuance.issuance import Issuance
from federation.issuance.server import issuance_handler
from federation.lifecycle import Stop, give_back_what_is_free, keep_what_stays, use_all_descriptors
from federation.log import Log
from federation.outside import begin
from federation.own_address import is_wildcard, joined, own_address
from federation.probing import Probing
from federation.registry.clusterset import Change
from federation.registry.mirror import Mirror
from federation.registry.moving import refuse_unfinished
from federation.registry.registry import Registry
from federation.registry.rollovers import told
from federation.registry.sqlite import SqliteStore
from federation.rollover.face import Witness
from federation.rollover.files import settle
from federation.rollover.steward import Steward
from federation.rollover.trusting import Trusting
from federation.sessions import Broadcast, Sessions
from federation.settings import HubSettings, host_port
from federation.sync.server import SyncServer
from federation.trust.fetching import fetch
from federation.trust.follower import Follower
from federation.trust.serving import WebCertificate, bundles_served
from gateway.rpc import TlsListener
from pki import keystore
from pki.spiffe import agent_id, hub_id

if TYPE_CHECKING:
    from federation.registry.etcd.store import EtcdStore

log = Log(__name__)

_DATABASE: Final = "registry.db"
_UPKEEP_SECONDS: Final = 600.0


def run(settings: HubSettings) -> None:
    """Run the hub until it is told to stop."""
    use_all_descriptors()
    give_back_what_is_free()
    keep_what_stays()
    with keystore.exclusive(settings.state):
        secret_files.check(settings.state)
        uvloop.run(_serve(settings))


async def _serve(settings: HubSettings) -> None:
    """Start everything, administration last, and run until told to stop."""
    stop, state, audit = Stop(), settings.state, Audit(settings.state)
    vault = Vault(state, settings.passphrase, settings.lifetimes)
    begin(vault, settings, utc_now(), _first_start)
    advertised = _advertised(settings)
    addresses = tuple(joined(host, port) for host, port in advertised)
    async with AsyncExitStack() as stack:
        stack.enter_context(audit.kept())
        store = await _open_store(settings)
        stack.push_async_callback(store.close)
        await refuse_unfinished(store)
        ranges = tuple(VipRange(cidr) for cidr in settings.vip_ranges)
        registry = Registry(store, capacity=min(r.size for r in ranges) - 2)
        rollover = await registry.rollovers.get()
        authority = settle(vault, settings.domain, rollover, utc_now())
        audit.record("started", str(hub_id(settings.domain)), **_signs_with(authority))
        names = tuple(host for host, _ in advertised)
        certificate = HubCertificate(state, authority, names, audit, utc_now)
        federation = Federation(settings.domain, (), ranges)
        await registry.set_federation(told(federation, authority.roots[0], rollover, addresses))
        await registry.tidy(utc_now())
        mirror = Mirror(store)
        broadcast = Broadcast(mirror.clusterset)
        changes = mirror.changes()
        broadcast.follow(await anext(changes))

        probing, anchoring, trusting = Probing(), Anchoring(), Trusting()
        doorkeeper = Doorkeeper(registry.members, settings.domain, utc_now)
        sessions = Sessions(
            registry, broadcast.catalogue, utc_now, doorkeeper, probing, anchoring, trusting, audit
        )
        sync = SyncServer(sessions.session, admit=sessions.admit, version=version("fedgate"))
        issuance = Issuance(
            authority, registry, mirror.clusterset, anchoring, doorkeeper, utc_now, audit, settings.grace
        )
        listener = TlsListener(settings.sync_listen, certificate.material)
        serving = sync.serving([listener], [issuance_handler(issuance, audit)])
        (sync_port,) = await stack.enter_async_context(serving)
        sync_addresses = tuple(joined(host, sync_port) for host, _ in advertised)
        steward = Steward(vault, authority, certificate, registry, trusting, addresses, audit, utc_now)
        steward.rollover = rollover
        upkeep = HubUpkeep(vault, authority, certificate, steward.lock, audit, utc_now)
        face = join_application(
            Door(authority, registry, sync_addresses, settings.vip_ranges, utc_now, audit)
        )
        add_reattest(face, BackDoor(registry, issuance, settings.grace, utc_now, audit))
        Witness(steward).add_to(face)
        host, port = host_port(settings.listen)
        port = await stack.enter_async_context(served_on_tls(face, host, port, certificate.tls))
        steward.own_addresses = _beside(host, port)

        follower = Follower(registry.trusts, mirror.clusterset, utc_now, fetch)
        hub = Hub(
            authority,
            registry,
            mirror.clusterset,
            probing,
            addresses,
            utc_now,
            upkeep.rotate,
            audit,
            follower,
        )
        more = (partial(add_authorities, steward),)
        face = hub_application(hub, more=more)
        await stack.enter_async_context(served_on_socket(face, paths.admin_socket(state)))
        if settings.admin_listen:
            face = hub_application(hub, settings.admin_token_file, more)
            where = host_port(settings.admin_listen)
            await stack.enter_async_context(served_on_tls(face, *where, certificate.tls))
        web = _web_certificate(settings)
        if settings.bundle_listen:
            shown = web.tls if web else certificate.tls
            await stack.enter_async_context(bundles_served(settings, mirror, shown))
        log.info("hub started", domain=settings.domain, join=", ".join(addresses), state=state)

        def follow(change: Change) -> None:
            broadcast.follow(change)
            for record in mirror.clusterset.evicted:
                if record.name in change.clusters:
                    sync.end(str(agent_id(record.trust_domain)), evicted(record.name))
                    sessions.forget(record.name)

        await stop.run(
            _follow(changes, follow),
            _tidy(registry),
            upkeep.run(),
            steward.run(),
            store.tend(),
            follower.run(),
            *((web.follow(),) if web else ()),
        )


async def _open_store(settings: HubSettings) -> "SqliteStore | EtcdStore":
    """The store that was asked for: by default a file of our own."""
    if settings.store is None:
        return await SqliteStore.open(settings.state / _DATABASE)
    from federation.registry.etcd.store import EtcdStore  # who has no etcd need not load its messages

    return await EtcdStore.open(settings.store)


def _web_certificate(settings: HubSettings) -> WebCertificate | None:
    if settings.bundle_cert and settings.bundle_key:
        return WebCertificate(settings.bundle_cert, settings.bundle_key)
    return None


async def _follow(changes: AsyncIterator[Change], follow: Callable[[Change], None]) -> None:
    async for change in changes:
        follow(change)


async def _tidy(registry: Registry) -> None:
    while True:
        await asyncio.sleep(_UPKEEP_SECONDS)
        await registry.tidy(utc_now())


def _beside(host: str, port: int) -> tuple[str, ...]:
    """Where the hub itself finds what it serves at *host*."""
    return tuple(joined(each, port) for each in (("127.0.0.1", "::1") if is_wildcard(host) else (host,)))


def _signs_with(authority: HubAuthority) -> dict[str, str]:
    """What the audit record says of a hub that starts."""
    root, hub_ca = (f"{c.serial_number:x}" for c in (authority.root, authority.hub_ca.certificate))
    return {"version": version("fedgate"), "root": root, "hub_ca": hub_ca}


def _first_start() -> None:
    log.info("first start", next="fedgate token create CLUSTER")


def _advertised(settings: HubSettings) -> list[tuple[str, int]]:
    """Where members are told to find this hub: as the operator says, else as well as we can tell."""
    host, port = host_port(settings.listen)
    if settings.advertise:
        return [host_port(address, port) for address in settings.advertise]
    if not is_wildcard(host):
        return [(host, port)]
    guessed = own_address()
    log.warning("address guessed", advertised=guessed, hint="say --advertise HOST if members cannot reach it")
    return [(guessed, port)]
