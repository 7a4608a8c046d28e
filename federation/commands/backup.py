"""`fedgate backup`: all that a hub needs to go on, in one file."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from federation import paths
from federation.commands.options import FILE, STATE
from federation.commands.store_options import Entry, entry_options, location

if TYPE_CHECKING:
    from federation.registry.store import Snapshot

_DATABASE = "registry.db"


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--state", type=STATE, help="The folder of the hub.")
@click.option("--store", metavar="etcd://HOST[:PORT],.../PREFIX", help="Where its registry is, if on etcd.")
@click.option("--passphrase-file", type=FILE, help="Seals the keys in the backup, if the hub has none.")
@entry_options
def backup(
    file: Path, state: Path | None, store: str | None, passphrase_file: Path | None, **entry: Unpack[Entry]
) -> None:
    """Put all that a hub needs to go on into one file.

    That is its registry at one revision, and its authorities. The hub may run meanwhile. Keys are sealed:
    with the hub's own passphrase, or, if it was given none, with the one that is given here, in the ways that
    `fedgate hub` takes it. It is written whole or not at all, for you alone to read. Who is connected is not
    in it, and the audit record is not.
    """
    from clusters.clock import utc_now
    from federation.backup.form import encode
    from federation.backup.taking import take
    from federation.passphrases import given
    from pki import keystore

    folder = state or paths.hub_state()

    async def read() -> "Snapshot":
        if store is None:
            from federation.registry.database import snapshot

            return await asyncio.to_thread(snapshot, folder / _DATABASE)
        from federation.registry.etcd.store import EtcdStore

        opened = await EtcdStore.open(location(store, entry))
        try:
            return await opened.snapshot()
        finally:
            await opened.close()

    taken = asyncio.run(take(folder, read, given(passphrase_file), utc_now()))
    keystore.write(file, encode(taken))
    click.echo(
        f"{file}: revision {taken.revision}, {len(taken.records)} records,"
        f" {len(taken.files)} files of authorities"
    )
