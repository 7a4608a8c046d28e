"""What a hub is before it serves anybody: its store, its part in the election, and what it signs with."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from clusters.clock import utc_now
from clusters.model import Federation, VipRange
from federation.audit import Audit
from federation.errors import Deposed, NotElected
from federation.hearsay import Hearsay
from federation.hub_authority import HubAuthority, Vault
from federation.hub_certificate import HubCertificate
from federation.hub_opening import check_passphrase, open_authorities, open_store, registry_in, stand
from federation.hub_upkeep import HubUpkeep
from federation.lifecycle import first_of
from federation.log import Log
from federation.own_address import is_loopback, is_wildcard, joined, own_address
from federation.registry.election import Election
from federation.registry.mirror import Mirror
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.rollover.steward import Steward
from federation.settings import HubSettings, host_port
from pki.spiffe import hub_id

if TYPE_CHECKING:
    from federation.registry.etcd.store import EtcdStore

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that all else of a hub is built on. *hosts* and *addresses* are where members find it."""

    settings: HubSettings
    audit: Audit
    store: "SqliteStore | EtcdStore"
    registry: Registry
    mirror: Mirror
    election: Election
    vault: Vault
    authority: HubAuthority
    certificate: HubCertificate
    steward: Steward
    upkeep: HubUpkeep
    hearsay: Hearsay
    hosts: tuple[str, ...]
    addresses: tuple[str, ...]

    def federation(self) -> Federation:
        """What is the same for everybody, as this hub was told at its start; without roots."""
        ranges = tuple(VipRange(cidr) for cidr in self.settings.vip_ranges)
        return Federation(self.settings.domain, (), ranges)


@asynccontextmanager
async def core_of(settings: HubSettings) -> AsyncIterator[Core]:
    """Open everything; at the end others are told at once that this hub is gone."""
    check_passphrase(settings)
    audit, advertised = Audit(settings.state), _advertised(settings)
    with audit.kept():
        store = await open_store(settings)
        try:
            registry = await registry_in(store, settings)
            election = await stand(registry, settings)
            async with _kept(election):
                yield await _core(settings, audit, store, registry, election, advertised)
        finally:
            await store.close()


@asynccontextmanager
async def _kept(election: Election) -> AsyncIterator[None]:
    """Take part in the election until the block is left: to make keys takes as long as a lease may last."""
    try:
        async with asyncio.TaskGroup() as group:
            taking_part = group.create_task(election.run())
            try:
                yield
            finally:
                taking_part.cancel()
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


async def _core(
    settings: HubSettings,
    audit: Audit,
    store: "SqliteStore | EtcdStore",
    registry: Registry,
    election: Election,
    at: list[tuple[str, int]],
) -> Core:
    vault, authority, rollover = await open_authorities(settings, registry, election)
    audit.record("started", str(hub_id(settings.domain)), **_signs_with(authority))
    hosts, addresses = tuple(host for host, _ in at), tuple(joined(host, port) for host, port in at)
    certificate = HubCertificate(settings.state, authority, hosts, audit, utc_now)
    mirror = Mirror(registry.store, one_machine=all(map(is_loopback, hosts)))
    hearsay = Hearsay(mirror.clusterset)
    mirror.beside.append(hearsay.apply)

    def hubs(root: str) -> Mapping[str, bool]:
        return {hub.name: hub.root == root for hub in mirror.clusterset.hubs}

    steward = Steward(
        vault,
        authority,
        certificate,
        registry,
        hearsay.trusting,
        addresses,
        audit,
        utc_now,
        election.name,
        election.registry,
        hubs,
        outside=settings.heard_outside,
        rollover=rollover,
    )
    upkeep = HubUpkeep(
        vault, authority, certificate, steward.lock, audit, utc_now, lambda: election.term.value is not None
    )
    core = Core(
        settings, audit, store, registry, mirror, election, vault, authority, certificate, steward, upkeep,
        hearsay, hosts, addresses,
    )  # fmt: skip
    with suppress(NotElected, Deposed):
        await steward.take_office(core.federation())
    return core


def _signs_with(authority: HubAuthority) -> dict[str, str]:
    """What the audit record says of a hub that starts."""
    root, hub_ca = (f"{c.serial_number:x}" for c in (authority.root, authority.hub_ca.certificate))
    return {"version": version("fedgate"), "root": root, "hub_ca": hub_ca}


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
