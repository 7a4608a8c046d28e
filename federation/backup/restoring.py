"""Putting a backup back: into an empty folder and store, or in place of what is there.

A mark in the store says that it is not whole yet, from before the first change to after the last. A hub does
not start on such a store, and the next restore begins anew. So what is there in the end is all of the backup.
"""

from collections.abc import Mapping
from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path
from typing import Final

from clusters.model import Federation
from federation.backup import keys
from federation.backup.form import Backup
from federation.errors import HubThere
from federation.registry import keyspace
from federation.registry.codec import decode, encode
from federation.registry.grants import Grants
from federation.registry.moving import RESTORING, begin, end, fill, is_empty, is_unfinished
from federation.registry.records import FreedIndex, NextIndex
from federation.registry.store import Store
from pki import keystore

VIPS_SKIPPED: Final = 1000
"""So many VIP indexes are left out: what came after the backup had them, and callers may know them still."""


async def restore(backup: Backup, state: Path, store: Store, now: datetime, *, replace: bool) -> int:
    """Make *state* and *store* what *backup* has, at *now*; says how many records that are.

    HubThere if something is there already, unless it is to be *replaced* or a restore of this backup has left
    it: the store's mark says nothing of a folder. Nobody else may use either.
    """
    again = await is_unfinished(store)
    if not replace:
        held = keys.held(state)
        if there := [name for name in held if not again or backup.files.get(name) != held[name]]:
            raise HubThere(f"{state} has the authorities of a hub: {', '.join(there)}")
        if not again and not await is_empty(store):
            raise HubThere("the store has a registry")
    await begin(store, RESTORING, replace=replace)
    await fill(store, _resting(_ahead(backup.records), now))
    keystore.write_all(state, backup.files)
    for path in keys.stray(state, dict(backup.files)):
        path.unlink()
    await end(store)
    return len(backup.records)


def grants_of(backup: Backup) -> Grants:
    """Who may export what to whom, as it was at the backup."""
    written = backup.records.get(keyspace.GRANTS)
    return decode(keyspace.GRANTS, written, Grants) if written else Grants()


def _resting(records: Mapping[str, bytes], now: datetime) -> Mapping[str, bytes]:
    """*records*, with VIP indexes that were free at the backup free since *now*.

    They may have been given since, and callers may know them as another service's: they rest once more.
    """
    freed = {
        key: decode(key, records[key], FreedIndex) for key in records if key.startswith(keyspace.VIPS_FREED)
    }
    return {**records, **{key: encode(changed(each, freed_at=now)) for key, each in freed.items()}}


def _ahead(records: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """*records*, with VIP indexes left out that may have been given since; at most half of those left."""
    federation = records.get(keyspace.FEDERATION)
    following = records.get(keyspace.VIPS_NEXT)
    if federation is None or following is None:
        return records
    ranges = decode(keyspace.FEDERATION, federation, Federation).vip_ranges
    index = decode(keyspace.VIPS_NEXT, following, NextIndex).index
    left = max(0, min(block.size for block in ranges) - 2 - index)
    skipped = NextIndex(index + min(VIPS_SKIPPED, left // 2))
    return {**records, keyspace.VIPS_NEXT: encode(skipped)}
