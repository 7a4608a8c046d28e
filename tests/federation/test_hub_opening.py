"""Where a hub finds root and hub CA: in its folder, or in the store that several hubs share."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from federation.api.http import off_the_loop
from federation.errors import (
    AuthoritiesDiffer,
    AuthoritiesElsewhere,
    NotElected,
    PassphraseMissing,
    StoreUnreachable,
    StoreUnusable,
)
from federation.hub_authority import HUB_CA_KEY, ROOT, ROOT_KEY, HubAuthority, Vault
from federation.hub_opening import check_passphrase, open_authorities, stand
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.etcd.location import Location
from federation.registry.records import HubRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Commit, Compare, Delete, Operation, Put
from federation.resealing import sealed_anew_in
from federation.settings import HubSettings
from pki import keystore
from pki.errors import CannotUnseal
from tests.authorities import NOW
from tests.builders import DOMAIN, federation

SHARED = Location(("192.0.2.1:2379",), "fed")


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """What stands for the etcd."""
    store = await SqliteStore.open(tmp_path / "etcd.db")
    yield Registry(store, 100)
    await store.close()


@pytest.fixture
def alone(tmp_path: Path) -> HubSettings:
    """A hub without an etcd."""
    return settings(tmp_path, "alone", store=None, passphrase=None)


def settings(
    folder: Path,
    name: str,
    *,
    store: Location | None = SHARED,
    passphrase: bytes | None = b"correct horse",
) -> HubSettings:
    state = folder / name
    state.mkdir(mode=0o700, exist_ok=True)
    return HubSettings(state, DOMAIN, store=store, passphrase=passphrase, name=name)


async def opened(hub: HubSettings, registry: Registry) -> tuple[Vault, HubAuthority]:
    vault, authority, _ = await open_authorities(hub, registry, await stand(registry, hub))
    return vault, authority


def kept(hub: HubSettings) -> set[str]:
    """What its folder has."""
    return {path.name for path in hub.state.iterdir()}


async def test_the_first_hub_makes_them_and_the_next_one_finds_them(
    tmp_path: Path, registry: Registry
) -> None:
    one, two = settings(tmp_path, "one"), settings(tmp_path, "two")
    vault, first = await opened(one, registry)
    copy, second = await opened(two, registry)
    assert first.certificates == second.certificates
    assert first.hub_ca.certificate == second.hub_ca.certificate
    assert first.hub_ca.signer.public_key() == second.hub_ca.signer.public_key()
    assert second.has_root_key
    assert kept(one) == kept(two) == {"instance"}
    for name in (ROOT_KEY, HUB_CA_KEY):
        assert vault.files.read(name).startswith(b"fedgate-sealed")
    await off_the_loop(lambda: vault.files.replace({"more": b"of it"}))
    with pytest.raises(NotElected):
        await off_the_loop(lambda: copy.files.replace({"more": b"of another"}))
    assert copy.shared is not None
    await copy.shared.load()
    assert copy.files.read("more") == b"of it"


async def test_a_passphrase_is_a_must_and_a_wrong_one_is_named(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(PassphraseMissing, match="no passphrase was given") as missing:
        check_passphrase(settings(tmp_path, "one", passphrase=None))
    assert "--passphrase-file" in missing.value.hint
    await opened(settings(tmp_path, "one"), registry)
    with pytest.raises(
        CannotUnseal, match=r"cannot unseal etcd://192.0.2.1:2379/fed/hub-ca.key.sealed: the passp"
    ):
        await opened(settings(tmp_path, "two", passphrase=b"battery staple"), registry)


async def test_a_hub_that_was_alone_puts_its_own_into_the_store_and_can_take_them_back(
    tmp_path: Path, registry: Registry, alone: HubSettings
) -> None:
    _, before = await opened(alone, registry)
    assert {ROOT, ROOT_KEY, HUB_CA_KEY, "unseal.key"} <= kept(alone)
    await registry.set_federation(federation())
    with pytest.raises(AuthoritiesElsewhere, match="neither there nor here"):
        await opened(settings(tmp_path, "two"), registry)
    shared = settings(tmp_path, "alone")
    _, moved = await opened(shared, registry)
    assert kept(alone) == {"instance"}
    _, second = await opened(settings(tmp_path, "two"), registry)
    back = replace(alone, passphrase=b"correct horse")
    _, again = await opened(back, registry)
    assert ROOT_KEY in kept(alone)
    for each in (moved, second, again):
        assert each.certificates == before.certificates
        assert each.hub_ca.signer.public_key() == before.hub_ca.signer.public_key()


async def test_the_passphrase_in_the_store_is_changed_for_all_hubs_while_none_runs(
    tmp_path: Path, registry: Registry
) -> None:
    _, before = await opened(settings(tmp_path, "one"), registry)
    running = HubRecord("one", "its instance", ("h:1",), ("h:2",), "1", NOW)
    await registry.store.commit([Put(keyspace.hub("one"), encode(running))])
    with pytest.raises(StoreUnusable, match="these hubs use it: one"):
        await sealed_anew_in(registry.store, "the store", b"correct horse", b"battery staple")
    await registry.store.commit([Delete(keyspace.hub("one"))])
    with pytest.raises(CannotUnseal):
        await sealed_anew_in(registry.store, "the store", b"wrong", b"battery staple")
    done = await sealed_anew_in(registry.store, "the store", b"correct horse", b"battery staple")
    assert done == (HUB_CA_KEY, ROOT_KEY)
    with pytest.raises(CannotUnseal):
        await opened(settings(tmp_path, "two"), registry)
    _, after = await opened(settings(tmp_path, "two", passphrase=b"battery staple"), registry)
    assert after.certificates == before.certificates


async def test_a_folder_with_the_keys_of_another_federation_is_refused(
    tmp_path: Path, registry: Registry, alone: HubSettings
) -> None:
    await opened(settings(tmp_path, "one"), registry)
    store = await SqliteStore.open(alone.state / "registry.db")
    await opened(alone, Registry(store, 100))
    await store.close()
    with pytest.raises(AuthoritiesDiffer):
        await opened(settings(tmp_path, "alone"), registry)
    assert ROOT_KEY in kept(alone)


async def test_a_folder_with_another_root_than_its_registry_loses_neither(
    tmp_path: Path, registry: Registry, alone: HubSettings
) -> None:
    await opened(settings(tmp_path, "one"), registry)
    keystore.write(alone.state / ROOT, b"ANOTHER ROOT")
    with pytest.raises(AuthoritiesDiffer):
        await opened(alone, registry)
    assert await registry.store.get(keyspace.AUTHORITIES) is not None


class Dying(SqliteStore):
    """A store that is lost to a hub at the moment when it has made authorities."""

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        if any(each.key == keyspace.AUTHORITIES for each in operations):
            raise StoreUnreachable("the store", "nobody answers")
        return await super().commit(operations, when)


async def test_a_hub_that_has_died_at_its_first_start_starts_with_what_another_has_made(
    tmp_path: Path, registry: Registry
) -> None:
    hub, dying = settings(tmp_path, "one"), await Dying.open(tmp_path / "dying.db")
    with pytest.raises(StoreUnreachable):
        await opened(hub, Registry(dying, 100))
    await dying.close()
    assert kept(hub) == {"instance"}
    _, first = await opened(settings(tmp_path, "two"), registry)
    _, second = await opened(hub, registry)
    assert first.certificates == second.certificates
