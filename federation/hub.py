"""The hub, put together: authorities, registry, joins, the members' streams, administration."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Final

import uvloop

from clusters.clock import utc_now
from clusters.model import Federation, VipRange
from federation import paths
from federation.anchoring import Anchoring
from federation.api.http import served_on_socket, served_on_tls
from federation.api.hub import Hub, hub_application
from federation.api.join import Door, join_application
from federation.api.reattest import BackDoor, add_reattest
from federation.audit import Audit
from federation.doorkeeper import Doorkeeper
from federation.hub_authority import HubAuthority, open_or_create
from federation.hub_upkeep import HubUpkeep
from federation.issuance.issuance import Issuance
from federation.issuance.server import issuance_handler
from federation.lifecycle import Stop, keep_what_stays, use_all_descriptors
from federation.log import Log
from federation.own_address import is_wildcard, joined, own_address
from federation.probing import Probing
from federation.registry.clusterset import Change
from federation.registry.mirror import Mirror
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Store
from federation.sessions import Broadcast, Sessions
from federation.settings import HubSettings, host_port
from federation.sync.server import SyncServer
from gateway.rpc import TlsListener
from pki import keystore
from pki.bundle import key_id
from pki.spiffe import hub_id

log = Log(__name__)

_DATABASE: Final = "registry.db"
_UPKEEP_SECONDS: Final = 600.0


def run(settings: HubSettings) -> None:
    """Run the hub until it is told to stop."""
    use_all_descriptors()
    keep_what_stays()
    with keystore.exclusive(settings.state):
        uvloop.run(_serve(settings))


async def _serve(settings: HubSettings) -> None:
    """Start everything, administration last, and run until told to stop."""
    stop, state, audit = Stop(), settings.state, Audit(settings.state)
    authority = open_or_create(
        state, settings.domain, settings.passphrase_file, utc_now(), _first_start, settings.lifetimes
    )
    audit.record("started", str(hub_id(settings.domain)), **_signs_with(authority))
    advertised = _advertised(settings)
    upkeep = HubUpkeep(state, authority, tuple(host for host, _ in advertised), utc_now, audit)
    async with AsyncExitStack() as stack:
        stack.enter_context(audit.kept())
        store = await SqliteStore.open(state / _DATABASE)
        stack.push_async_callback(store.close)
        registry = await _registry(settings, authority, store)
        mirror = Mirror(store)
        broadcast = Broadcast(mirror.clusterset)
        changes = mirror.changes()
        broadcast.follow(await anext(changes))

        probing, anchoring = Probing(), Anchoring()
        doorkeeper = Doorkeeper(registry.members, settings.domain, utc_now)
        sessions = Sessions(registry, broadcast.catalogue, utc_now, doorkeeper, probing, anchoring, audit)
        sync = SyncServer(sessions.session, admit=sessions.admit, version=version("fedgate"))
        issuance = Issuance(
            authority, registry, mirror.clusterset, anchoring, doorkeeper, utc_now, audit, settings.grace
        )
        listener = TlsListener(settings.sync_listen, upkeep.material)
        serving = sync.serving([listener], [issuance_handler(issuance, audit)])
        (sync_port,) = await stack.enter_async_context(serving)
        sync_addresses = tuple(joined(host, sync_port) for host, _ in advertised)
        door = join_application(
            Door(authority, registry, sync_addresses, settings.vip_ranges, utc_now, audit)
        )
        add_reattest(door, BackDoor(registry, issuance, settings.grace, utc_now, audit))
        await stack.enter_async_context(served_on_tls(door, *host_port(settings.listen), upkeep.tls))

        addresses = tuple(joined(host, port) for host, port in advertised)
        hub = Hub(authority, registry, mirror.clusterset, probing, addresses, utc_now, upkeep.rotate, audit)
        await stack.enter_async_context(served_on_socket(hub_application(hub), paths.admin_socket(state)))
        if settings.admin_listen:
            face, where = hub_application(hub, settings.admin_token_file), host_port(settings.admin_listen)
            await stack.enter_async_context(served_on_tls(face, *where, upkeep.tls))
        log.info("hub started", domain=settings.domain, join=", ".join(addresses), state=state)
        await stop.run(_follow(changes, broadcast), _tidy(registry), upkeep.run(), store.tend())


async def _registry(settings: HubSettings, authority: HubAuthority, store: Store) -> Registry:
    """The registry, with what is the same for everybody written down."""
    ranges = tuple(VipRange(cidr) for cidr in settings.vip_ranges)
    registry = Registry(store, capacity=min(r.size for r in ranges) - 2)
    hub_ca = key_id(authority.hub_ca.certificate)
    await registry.set_federation(Federation(settings.domain, authority.roots, ranges, hub_ca))
    await registry.tidy(utc_now())
    return registry


async def _follow(changes: AsyncIterator[Change], broadcast: Broadcast) -> None:
    async for change in changes:
        broadcast.follow(change)


async def _tidy(registry: Registry) -> None:
    while True:
        await asyncio.sleep(_UPKEEP_SECONDS)
        await registry.tidy(utc_now())


def _signs_with(authority: HubAuthority) -> dict[str, str]:
    """What the audit record says of a hub that starts."""
    root, hub_ca = (f"{c.serial_number:x}" for c in (authority.root, authority.hub_ca.certificate))
    return {"version": version("fedgate"), "root": root, "hub_ca": hub_ca}


def _first_start() -> None:
    log.info("first start: root and hub CA made", next="fedgate token create CLUSTER")


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
