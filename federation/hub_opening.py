"""What a hub opens before it serves anything: its store, and the authorities, wherever they are kept.

    --store        root and hub CA are kept
    (a file)       in the hub's own folder
    etcd://…       in the store, sealed, for all hubs that have it

The first hub makes them. Whoever begins with a folder that has them already, and a store that has not, puts
them there: so a hub comes from its folder to etcd, and back.
"""

import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from clusters.clock import utc_now
from clusters.errors import InvalidName
from clusters.model import VipRange
from clusters.names import label
from federation.api.http import off_the_loop
from federation.authority_files import Copy, Folder, InStore
from federation.errors import AuthoritiesDiffer, AuthoritiesElsewhere, PassphraseMissing
from federation.hub_authority import HUB_CA, HUB_CA_KEY, ROOT, ROOT_KEY, UNSEAL_KEY, HubAuthority, Vault
from federation.log import Log
from federation.outside import begin
from federation.registry import keyspace
from federation.registry.election import Election
from federation.registry.identity import bound
from federation.registry.ledger import Ledger
from federation.registry.records import AuthoritiesRecord, RolloverRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.rollover.files import NEXT, OLD, settle
from federation.rollover.preparing import ASKED
from federation.settings import HubSettings
from pki import keystore
from pki.sealing import Seal

if TYPE_CHECKING:
    from federation.registry.etcd.store import EtcdStore

log = Log(__name__)

_DATABASE: Final = "registry.db"
_INSTANCE: Final = "instance"
_FILES: Final = (
    *(f"{when}{name}" for when in ("", NEXT, OLD) for name in (ROOT, ROOT_KEY, HUB_CA, HUB_CA_KEY)),
    ASKED,
)
_ROOTS: Final = (ROOT, f"{NEXT}{ROOT}", f"{OLD}{ROOT}")


def check_passphrase(settings: HubSettings) -> None:
    """Raise PassphraseMissing for a hub whose keys would lie in a store that others can read, with none."""
    if settings.store is not None and settings.passphrase is None:
        raise PassphraseMissing(settings.store.text)


async def open_store(settings: HubSettings) -> "SqliteStore | EtcdStore":
    """The store that was asked for: by default a file of our own. Raises StoreError."""
    if settings.store is None:
        return await SqliteStore.open(settings.state / _DATABASE)
    from federation.registry.etcd.store import EtcdStore  # who has no etcd need not load its messages

    return await EtcdStore.open(settings.store)


async def registry_in(store: "SqliteStore | EtcdStore", settings: HubSettings) -> Registry:
    """The registry in *store*, with room for as many services as the smallest VIP range has addresses.

    It is changed only for as long as *store* is the one that it is now. Raises StoreError.
    """
    return await bound(Registry(store, capacity=min(VipRange(cidr).size for cidr in settings.vip_ranges) - 2))


async def stand(registry: Registry, settings: HubSettings) -> Election:
    """This hub's part in the election, entered. Raises StoreError."""
    name = settings.name or _host()
    election = Election(registry, name, _instance(settings.state), utc_now)
    await election.enter()
    return election


async def open_authorities(
    settings: HubSettings, registry: Registry, election: Election
) -> tuple[Vault, HubAuthority, RolloverRecord | None]:
    """The authorities as the registry's rollover says that they are; at the first start they are made.

    Raises AuthoritiesElsewhere, AuthoritiesDiffer, WrongFederation, or a PkiError: CannotUnseal for a
    passphrase that is not the one.
    """
    vault = Vault(settings.state, settings.passphrase, settings.lifetimes)
    if settings.store is None:
        await _in_folder(vault, settings, registry)
    else:
        files = InStore(settings.store.text, registry, election.registry)
        await _in_store(vault, files, settings, registry)
        vault = replace(vault, elsewhere=files)
    rollover = await registry.rollovers.get()
    elected = election.term.value is not None
    opening = vault if elected else vault.copied()
    now = utc_now()
    authority = await off_the_loop(lambda: settle(opening, settings.domain, rollover, now, renew=elected))
    return vault, authority, rollover


async def _in_folder(vault: Vault, settings: HubSettings, registry: Registry) -> None:
    """Have them in the folder; those that came there with a registry from etcd are taken out of that."""
    held = await Ledger(registry.store).read(keyspace.AUTHORITIES, AuthoritiesRecord)
    if held.record is None:
        await off_the_loop(lambda: begin(vault, settings, utc_now(), _first_start))
        return
    if not vault.has(ROOT):
        keystore.write_all(settings.state, held.record.files)
    elif vault.files.read(ROOT) != held.record.files.get(ROOT):
        raise AuthoritiesDiffer(str(settings.state), "the registry in it")
    await registry.store.commit([held.delete()], [held.unchanged])


async def _in_store(folder: Vault, files: InStore, settings: HubSettings, registry: Registry) -> None:
    """Have them in the store: those that are there, or else those of the folder, or else new ones."""
    await files.load()
    ours = folder.has(ROOT)
    if not files.has(ROOT):
        if not ours and await registry.federation() is not None:
            raise AuthoritiesElsewhere(files.where)
        # New ones are in no folder before they are the store's: another hub may make some at the same time.
        kept = Copy(files.where, {name: folder.files.read(name) for name in _FILES if folder.has(name)})
        made = folder if ours else replace(folder, elsewhere=kept)
        await off_the_loop(lambda: begin(made, settings, utc_now(), _first_start))
        if await files.found(await off_the_loop(lambda: _resealed(made))):
            log.info("authorities put into the store", store=files.where)
        if not ours:
            _clear(settings.state)
    if folder.has(ROOT):
        if not _same(folder, files):
            raise AuthoritiesDiffer(str(settings.state), files.where)
        _clear(settings.state)


def _resealed(folder: Vault) -> dict[str, bytes]:
    """All files of *folder*, the keys sealed with the passphrase that was given."""
    own = folder.state / UNSEAL_KEY
    before, seal = Seal(keystore.read(own)) if own.exists() else folder.seal(), folder.seal()
    found = {name: folder.files.read(name) for name in _FILES if folder.has(name)}
    if before == seal:
        return found
    keys = {
        name: seal.closed(before.opened(content))
        for name, content in found.items()
        if name.endswith(".sealed")
    }
    return found | keys


def _same(folder: Vault, files: InStore) -> bool:
    """Whether the root in *folder* is one of those in the store."""
    return folder.files.read(ROOT) in {files.read(name) for name in _ROOTS if files.has(name)}


def _clear(state: Path) -> None:
    Folder(state).remove((*_FILES, UNSEAL_KEY))


def _first_start() -> None:
    log.info("first start", next="fedgate token create CLUSTER")


def _instance(state: Path) -> str:
    """What tells the hub in *state* from all others, for as long as that folder is there."""
    path = state / _INSTANCE
    if not path.exists():
        keystore.write(path, uuid4().hex.encode())
    return keystore.read(path).decode()


def _host() -> str:
    """This machine's name, as far as it can be a hub's."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower())[:63].strip("-")
    try:
        return label("hub", name)
    except InvalidName:
        return "hub"
