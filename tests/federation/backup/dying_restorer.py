"""A program that restores a backup and is killed before one of its transactions, or lives if there are fewer.

Its arguments are the backup, the folder, before which transaction, and of an etcd a member and the prefix.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from federation.backup.form import decode
from federation.backup.restoring import restore
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Commit, Compare, Operation
from tests.federation.registry.worlds import NOW

left = int(sys.argv[3])


def step() -> None:
    """Come one transaction nearer to the end."""
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


class DyingSqlite(SqliteStore):
    """A file."""

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        step()
        return await super().commit(operations, when)


class DyingEtcd(EtcdStore):
    """An etcd."""

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        step()
        return await super().commit(operations, when)


async def main(backup: Path, state: Path, where: Sequence[str]) -> None:
    """Restore."""
    store = (
        DyingEtcd(Location((where[0],), where[1])) if where else await DyingSqlite.open(state / "registry.db")
    )
    await restore(decode(backup.read_bytes(), str(backup)), state, store, NOW, replace=False)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4:]))
