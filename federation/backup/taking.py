"""Taking a backup: the registry at one revision, and the authorities' files of the same moment.

Hubs that share a store have their authorities in the registry, and no files.

The hub may run meanwhile. In a rollover of the root the registry changes first and the files follow; a hub
that starts brings its files after the registry. So files that are the same before and after the registry was
read are such as a hub that starts can have. Hubs on etcd have their files in the registry itself, sealed.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from federation.backup import keys
from federation.backup.form import Backup
from federation.errors import BackupNotTaken
from federation.hub_authority import ROOT
from federation.registry.codec import decode
from federation.registry.keyspace import AUTHORITIES, AWAY, IDENTITY
from federation.registry.moving import UNFINISHED
from federation.registry.records import AuthoritiesRecord
from federation.registry.store import NO_LEASE, Snapshot

_TRIES: Final = 5


async def take(
    state: Path, read: Callable[[], Awaitable[Snapshot]], passphrase: bytes | None, now: datetime
) -> Backup:
    """The backup of the hub in *state* whose registry *read* reads; errors as of `keys.sealed`.

    BackupNotTaken if there is no hub, or one that is written to all the time.
    """
    for _ in range(_TRIES):
        files = keys.held(state)
        snapshot = await read()
        if keys.held(state) == files:
            break
    else:
        raise BackupNotTaken(str(state), "its authorities change all the time", "try again")
    # Who is connected hangs on leases, and starts afresh; so does who is away: after a restore nobody knows.
    # And the store that it is restored to is another one.
    lasting = (i for i in snapshot.items if i.lease == NO_LEASE and not i.key.startswith((AWAY, IDENTITY)))
    records = {item.key: item.value for item in lasting}
    if UNFINISHED in records:
        raise BackupNotTaken(str(state), "its registry is not whole: a move or restore was cut short")
    if not files and AUTHORITIES not in records:
        raise BackupNotTaken(str(state), "it has no authorities", "name the --state of a hub")
    if files and AUTHORITIES in records:
        shared = decode(AUTHORITIES, records[AUTHORITIES], AuthoritiesRecord).files
        if files.get(ROOT) != shared.get(ROOT):
            raise BackupNotTaken(str(state), "it has another root than its registry", "name an empty --state")
    if not records:
        raise BackupNotTaken(str(state), "its registry is empty", "name the --state or --store of a hub")
    return Backup(now, snapshot.revision, keys.sealed(state, files, passphrase), records)
