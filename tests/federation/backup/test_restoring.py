"""What was backed up is there after a restore, on either store; and nobody starts on half of it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace as replaced
from pathlib import Path

import pytest

from clusters.model import VipRange
from federation.backup.form import Backup, encode
from federation.backup.restoring import restore
from federation.backup.taking import take
from federation.errors import BackupNotTaken, HubThere, PassphraseUnclear, StoreUnusable
from federation.hub_authority import HUB_CA, HUB_CA_KEY, ROOT, ROOT_KEY, UNSEAL_KEY, open_or_create
from federation.registry import keyspace
from federation.registry.codec import encode as encode_record
from federation.registry.database import snapshot
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.identity import identity_of
from federation.registry.ledger import everything
from federation.registry.moving import RESTORING, begin, refuse_unfinished
from federation.registry.records import AliveRecord, AuthoritiesRecord, NextIndex
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import KeyValue, Put, Snapshot, Store
from pki import keystore
from pki.errors import CannotUnseal
from pki.sealing import Seal
from tests.builders import CLOUD, DOMAIN, ONPREM, federation
from tests.federation.registry.worlds import DAY, NOW, exports, gone, joined, mirrored, service

OPERATORS = b"what the operator knows"
Read = Callable[[], Awaitable[Snapshot]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a hub that was given no passphrase."""
    state = tmp_path / "hub"
    state.mkdir(mode=0o700)
    open_or_create(state, DOMAIN, None, NOW, lambda: None)
    return state


@pytest.fixture
async def hub(folder: Path) -> AsyncIterator[Read]:
    """A registry in use: one cluster connected, one away, and more services than fit into a transaction."""
    path = folder / "registry.db"
    store = await SqliteStore.open(path)
    await identity_of(store)
    registry = Registry(store, capacity=5000)
    await registry.set_federation(federation())
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports(*(f"s{i}" for i in range(150))), NOW)
    await registry.members.connect(ONPREM, 60, AliveRecord(NOW))
    await registry.members.miss(CLOUD, NOW)

    async def read() -> Snapshot:
        return snapshot(path)

    yield read
    await store.close()


async def values(store: Store) -> dict[str, bytes]:
    return {item.key: item.value async for item in everything(store, "")}


def without_next(records: dict[str, bytes]) -> dict[str, bytes]:
    return {key: value for key, value in records.items() if key != keyspace.VIPS_NEXT}


async def test_a_restored_hub_has_what_the_other_had_and_nobody_is_connected_or_away(
    folder: Path, hub: Read, store: Store, tmp_path: Path
) -> None:
    backup = await take(folder, hub, OPERATORS, NOW)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    await identity_of(store)  # somebody has opened it: it is empty all the same
    assert await restore(backup, fresh, store, NOW, replace=False) == len(backup.records)
    assert keyspace.IDENTITY not in await values(store)
    assert without_next(await values(store)) == without_next(dict(backup.records))
    clusterset = await mirrored(store)
    assert clusterset.clusters == (CLOUD, ONPREM)
    assert not clusterset.connected(ONPREM)
    assert clusterset.away(CLOUD) is None
    old, new = (
        open_or_create(f, DOMAIN, p, NOW, lambda: None) for f, p in ((folder, None), (fresh, OPERATORS))
    )
    assert (new.root, new.hub_ca.certificate) == (old.root, old.hub_ca.certificate)
    assert new.hub_ca.signer.public_key() == old.hub_ca.signer.public_key()


async def test_a_snapshot_of_etcd_is_of_one_revision(one_etcd: str) -> None:
    store = await EtcdStore.open(Location((one_etcd,), "one-revision"))
    for some in range(25):
        await store.commit([Put(f"k{some * 100 + n:04}", b"before") for n in range(100)])
    taken = await store.snapshot()
    await store.commit([Put("k2499", b"after")])
    assert len(taken.items) == 2500
    assert {item.value for item in taken.items} == {b"before"}
    assert taken.revision == (await store.range("", limit=1)).revision - 1
    await store.close()


async def test_no_key_leaves_the_folder_with_the_passphrase_that_lies_beside_it(
    folder: Path, hub: Read
) -> None:
    with pytest.raises(PassphraseUnclear, match="need a passphrase of yours"):
        await take(folder, hub, None, NOW)
    backup = await take(folder, hub, OPERATORS, NOW)
    assert set(backup.files) == {ROOT, ROOT_KEY, HUB_CA, HUB_CA_KEY}
    own = keystore.read(folder / UNSEAL_KEY)
    for name in (ROOT_KEY, HUB_CA_KEY):
        assert b"PRIVATE KEY" in Seal(OPERATORS).opened(backup.files[name])
        with pytest.raises(CannotUnseal):
            Seal(own).opened(backup.files[name])
    assert own not in encode(backup)


async def test_keys_that_are_sealed_by_the_operator_travel_as_they_are(tmp_path: Path, hub: Read) -> None:
    state = tmp_path / "sealed"
    state.mkdir(mode=0o700)
    open_or_create(state, DOMAIN, OPERATORS, NOW, lambda: None)
    backup = await take(state, hub, None, NOW)
    assert backup.files[HUB_CA_KEY] == keystore.read(state / HUB_CA_KEY)
    with pytest.raises(CannotUnseal):
        await take(state, hub, b"another", NOW)


async def test_where_a_hub_is_nothing_is_restored_unless_it_is_said(
    folder: Path, hub: Read, store: Store, tmp_path: Path
) -> None:
    backup = await take(folder, hub, OPERATORS, NOW)
    await store.commit([Put("fedgate/federation", b"another"), Put("fedgate/tokens/x", b"another")])
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(HubThere, match="the store has a registry"):
        await restore(backup, fresh, store, NOW, replace=False)
    with pytest.raises(HubThere, match="has the authorities of a hub"):
        await restore(backup, folder, store, NOW, replace=False)
    assert await values(store) == {"fedgate/federation": b"another", "fedgate/tokens/x": b"another"}
    await restore(backup, folder, store, NOW, replace=True)
    assert without_next(await values(store)) == without_next(dict(backup.records))
    assert not (folder / UNSEAL_KEY).exists()
    assert keystore.read(folder / HUB_CA_KEY) == backup.files[HUB_CA_KEY]


async def test_a_service_that_comes_after_a_restore_has_no_address_that_was_given_since_the_backup(
    folder: Path, hub: Read, store: Store, tmp_path: Path
) -> None:
    backup = await take(folder, hub, OPERATORS, NOW)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    await restore(backup, fresh, store, NOW, replace=False)
    registry = Registry(store, capacity=5000)
    await registry.offers.set_exports(CLOUD, exports("s7", "new"), NOW)
    clusterset = await mirrored(store)
    kept, new = clusterset.import_(service("s7")), clusterset.import_(service("new"))
    assert kept
    assert new
    assert kept.index == 8
    assert new.index == 151 + 1000


async def test_where_few_addresses_are_left_at_most_half_of_them_are_left_out(
    store: Store, tmp_path: Path
) -> None:
    few = replaced(federation(), vip_ranges=(VipRange("241.0.0.0/24"),))
    records = {keyspace.FEDERATION: encode_record(few), keyspace.VIPS_NEXT: encode_record(NextIndex(100))}
    await restore(Backup(NOW, 1, {}, records), tmp_path, store, NOW, replace=False)
    following = await store.get(keyspace.VIPS_NEXT)
    assert following
    assert following.value == encode_record(NextIndex(100 + (256 - 2 - 100) // 2))


async def test_an_address_that_was_free_at_the_backup_rests_once_more_after_a_restore(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    path = folder / "registry.db"
    own = await SqliteStore.open(path)
    before = Registry(own, capacity=5000)
    await before.set_federation(federation())
    await joined(before, ONPREM)
    await before.offers.set_exports(ONPREM, exports("old"), NOW)
    await before.offers.set_exports(ONPREM, gone("old"), NOW)
    read = snapshot(path)
    await own.close()

    async def taken() -> Snapshot:
        return read

    backup = await take(folder, taken, OPERATORS, NOW)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    later = NOW + 2 * DAY
    await restore(backup, fresh, store, later, replace=False)
    registry = Registry(store, capacity=5000)
    await registry.offers.set_exports(ONPREM, exports("new"), later + DAY / 2)
    await registry.offers.set_exports(ONPREM, exports("newer"), later + DAY)
    clusterset = await mirrored(store)
    indexes = [found.index for name in ("new", "newer") if (found := clusterset.import_(service(name)))]
    assert indexes == [2 + 1000, 1]


async def test_a_mark_in_the_store_gives_no_leave_to_write_over_another_hubs_keys(
    folder: Path, hub: Read, store: Store, tmp_path: Path
) -> None:
    backup = await take(folder, hub, OPERATORS, NOW)
    await begin(store, RESTORING)
    keys = keystore.read(folder / ROOT_KEY)
    with pytest.raises(HubThere, match=r"has the authorities of a hub: hub-ca.key.sealed, root.key.sealed$"):
        await restore(backup, folder, store, NOW, replace=False)
    assert keystore.read(folder / ROOT_KEY) == keys
    fresh = tmp_path / "fresh"
    fresh.mkdir(mode=0o700)
    keystore.write_all(fresh, dict(backup.files))
    await restore(backup, fresh, store, NOW, replace=False)


async def test_of_a_hub_that_is_not_whole_there_is_no_backup(folder: Path, hub: Read) -> None:
    async def nothing() -> Snapshot:
        return Snapshot((), 0)

    with pytest.raises(BackupNotTaken, match="its registry is empty"):
        await take(folder, nothing, OPERATORS, NOW)
    with pytest.raises(BackupNotTaken, match="no authorities"):
        await take(folder.parent / "elsewhere", hub, OPERATORS, NOW)

    async def of_another() -> Snapshot:
        record = encode_record(AuthoritiesRecord({ROOT: b"ANOTHER ROOT"}))
        return Snapshot((KeyValue(keyspace.AUTHORITIES, record, 1, 1),), 1)

    with pytest.raises(BackupNotTaken, match="another root than its registry"):
        await take(folder, of_another, OPERATORS, NOW)


async def test_authorities_that_change_while_the_registry_is_read_are_read_again(
    folder: Path, hub: Read
) -> None:
    read = 0

    async def switching() -> Snapshot:
        nonlocal read
        read += 1
        if read == 1:
            keystore.write(folder / ROOT, b"A NEW ROOT")
        return await hub()

    backup = await take(folder, switching, OPERATORS, NOW)
    assert (backup.files[ROOT], read) == (b"A NEW ROOT", 2)


def killed(backup: Path, state: Path, store: Sequence[str], steps: int) -> int:
    """Restore *backup* in a process that is killed before its transaction number *steps*."""
    script = Path(__file__).with_name("dying_restorer.py")
    return subprocess.run(
        [sys.executable, script, str(backup), str(state), str(steps), *store],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ).returncode


@pytest.mark.slow
@pytest.mark.parametrize("on", ["sqlite", "etcd"])
async def test_a_restore_that_is_killed_anywhere_lets_no_hub_start_and_is_done_again(
    on: str, folder: Path, hub: Read, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    taken = await take(folder, hub, OPERATORS, NOW)
    few = {key: taken.records[key] for key in [*taken.records][:120]}
    backup = Backup(taken.taken, taken.revision, taken.files, few)
    keystore.write(tmp_path / "backup", encode(backup))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    location = Location((request.getfixturevalue("one_etcd"),), "killed") if on == "etcd" else None

    async def opened() -> EtcdStore | SqliteStore:
        return await (EtcdStore.open(location) if location else SqliteStore.open(fresh / "registry.db"))

    where = [location.endpoints[0], location.prefix] if location else []
    for steps in range(1, 20):
        if (ended := killed(tmp_path / "backup", fresh, where, steps)) == 0:
            break
        assert ended == -signal.SIGKILL
        store = await opened()
        if steps > 1:  # before the first transaction nothing has begun
            with pytest.raises(StoreUnusable, match="restored into it only in part"):
                await refuse_unfinished(store)
        await store.close()
    assert steps > 5
    store = await opened()
    await refuse_unfinished(store)
    assert without_next(await values(store)) == without_next(few)
    assert {name: keystore.read(fresh / name) for name in backup.files} == backup.files
    await store.close()
