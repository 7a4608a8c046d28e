"""The hub, put together: authorities, registry, joins, the members' streams, administration."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop

from clusters.clock import utc_now
from clusters.model import Federation, VipRange
from federation import paths
from federation.api.http import served_on_socket, served_on_tls, tls_context
from federation.api.hub import Hub, hub_application
from federation.api.join import Door, join_application
from federation.audit import Audit, described
from federation.hub_authority import CERTIFICATE, KEY, HubAuthority, open_or_create
from federation.lifecycle import Stop, keep_what_stays, use_all_descriptors
from federation.log import Log
from federation.own_address import is_wildcard, joined, own_address
from federation.probing import Probing
from federation.registry.clusterset import Change
from federation.registry.mirror import Mirror
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Store
from federation.sessions import Broadcast, Sessions, evicted
from federation.settings import HubSettings, host_port
from federation.sync.server import SyncServer
from gateway.rpc import TlsListener, TlsMaterial
from pki import keystore
from pki.authority import describe, from_pem
from pki.rotation import Validity, due
from pki.spiffe import agent_id, hub_id

log = Log(__name__)

_DATABASE: Final = "registry.db"
_UPKEEP_SECONDS: Final = 600.0


def run(settings: HubSettings) -> None:
    """Run the hub until it is told to stop."""
    use_all_descriptors()
    keep_what_stays()
    with keystore.exclusive(settings.state):
        uvloop.run(_serve(settings))


class _Certificate:
    """The hub's own certificate, as both of its TLS servers show it."""

    def __init__(self, state: Path, authority: HubAuthority, names: tuple[str, ...], audit: Audit) -> None:
        self._state = state
        self._authority = authority
        self._names = names
        self._audit = audit
        self._write()
        self.tls = tls_context(state / CERTIFICATE, state / KEY)

    def material(self) -> TlsMaterial:
        """What the sync stream's server shows, and whom it believes."""
        chain, key = (keystore.read(self._state / name).decode() for name in (CERTIFICATE, KEY))
        return TlsMaterial(chain, key, "".join(self._authority.roots))

    def _write(self) -> None:
        written = self._authority.write_certificate(self._state, self._names, utc_now())
        self._audit.record("issued", describe(written), what="hub", **described(written))

    async def renew(self) -> None:
        """Replace it about half-way through its life, for ever."""
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            (certificate, *_) = from_pem(keystore.read(self._state / CERTIFICATE).decode())
            if due(utc_now(), Validity.of(certificate), jitter=0.5):
                self._write()
                self.tls.load_cert_chain(self._state / CERTIFICATE, self._state / KEY)
                log.info("hub certificate renewed")


async def _serve(settings: HubSettings) -> None:
    """Start everything, administration last, and run until told to stop."""
    stop, state, audit = Stop(), settings.state, Audit(settings.state)
    authority = open_or_create(state, settings.domain, settings.passphrase_file, utc_now(), _first_start)
    audit.record("started", str(hub_id(settings.domain)), **_signs_with(authority))
    advertised = _advertised(settings)
    certificate = _Certificate(state, authority, tuple(host for host, _ in advertised), audit)
    async with AsyncExitStack() as stack:
        stack.enter_context(audit.kept())
        store = await SqliteStore.open(state / _DATABASE)
        stack.push_async_callback(store.close)
        registry = await _registry(settings, authority, store)
        mirror = Mirror(store)
        broadcast = Broadcast(mirror.clusterset)
        changes = mirror.changes()
        broadcast.follow(await anext(changes))

        probing = Probing()
        sessions = Sessions(registry, broadcast.catalogue, utc_now, probing, audit)
        sync = SyncServer(sessions.session, admit=sessions.admit, version=version("fedgate"))
        listener = TlsListener(settings.sync_listen, certificate.material)
        (sync_port,) = await stack.enter_async_context(sync.serving([listener]))
        sync_addresses = tuple(joined(host, sync_port) for host, _ in advertised)
        door = Door(authority, registry, sync_addresses, settings.vip_ranges, utc_now, audit)
        where = host_port(settings.listen)
        await stack.enter_async_context(served_on_tls(join_application(door), *where, certificate.tls))

        addresses = tuple(joined(host, port) for host, port in advertised)
        hub = Hub(authority, registry, mirror.clusterset, probing, addresses, utc_now, audit)
        await stack.enter_async_context(served_on_socket(hub_application(hub), paths.admin_socket(state)))
        if settings.admin_listen:
            face = hub_application(hub, settings.admin_token_file)
            where = host_port(settings.admin_listen)
            await stack.enter_async_context(served_on_tls(face, *where, certificate.tls))
        log.info("hub started", domain=settings.domain, join=", ".join(addresses), state=state)

        def follow(change: Change) -> None:
            broadcast.follow(change)
            for record in mirror.clusterset.evicted:
                if record.name in change.clusters:
                    sync.end(str(agent_id(record.trust_domain)), evicted(record.name))
                    probing.forget(record.name)

        await stop.run(_follow(changes, follow), _tidy(registry), certificate.renew(), store.tend())


async def _registry(settings: HubSettings, authority: HubAuthority, store: Store) -> Registry:
    """The registry, with what is the same for everybody written down."""
    ranges = tuple(VipRange(cidr) for cidr in settings.vip_ranges)
    registry = Registry(store, capacity=min(r.size for r in ranges) - 2)
    await registry.set_federation(Federation(settings.domain, authority.roots, ranges))
    await registry.tidy(utc_now())
    return registry


async def _follow(changes: AsyncIterator[Change], follow: Callable[[Change], None]) -> None:
    async for change in changes:
        follow(change)


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
