"""`fedgate restore`: a backup put back, for a hub to go on from there."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from federation import paths
from federation.commands.options import FILE, STATE
from federation.commands.store_options import Entry, entry_options, location

if TYPE_CHECKING:
    from federation.backup.form import Backup

_DATABASE = "registry.db"


@click.command()
@click.argument("file", type=FILE)
@click.option("--state", type=STATE, help="The folder of the hub that is to go on.")
@click.option("--store", metavar="etcd://HOST[:PORT],.../PREFIX", help="Put the registry on this etcd.")
@click.option("--replace", is_flag=True, help="Have the backup in place of what is there, which is lost.")
@entry_options
def restore(file: Path, state: Path | None, store: str | None, replace: bool, **entry: Unpack[Entry]) -> None:
    """Put a backup back, for a hub to go on from there.

    It goes into an empty folder and store, all of it or nothing: if this is interrupted no hub starts there
    until it has been done again. Keys stay sealed as they are; start the hub with the passphrase of
    the backup. Members believe it, as its root is the one that they know.
    """
    from federation.backup.form import decode
    from federation.backup.restoring import grants_of
    from pki import keystore

    content = keystore.read(file)
    backup = decode(content, str(file))
    grants = grants_of(backup)
    folder = state or paths.hub_state()
    with keystore.exclusive(folder):
        restored = asyncio.run(_restore(backup, folder, store, entry, replace=replace))
    click.echo(f"{restored} records of {backup.taken:%Y-%m-%d %H:%M:%S} UTC restored to {store or folder}")
    defaults = grants.defaults
    click.echo(
        f"grants are those of revision {backup.revision}: {len(grants.grants)}, and by default exports"
        f" {defaults.exports}, imports {defaults.imports}, addresses {defaults.addresses};"
        " what was closed or revoked since is open again"
    )
    options = f" --state {folder}" if state else ""
    options += f" --store {store}" if store else ""
    click.echo(f"next: fedgate hub{options} --passphrase-file FILE", err=True)


async def _restore(backup: "Backup", state: Path, store: str | None, entry: Entry, *, replace: bool) -> int:
    from clusters.clock import utc_now
    from federation.backup.restoring import restore as put_back

    if store is None:
        from federation.registry.sqlite import SqliteStore

        own = await SqliteStore.open(state / _DATABASE)
        try:
            return await put_back(backup, state, own, utc_now(), replace=replace)
        finally:
            await own.close()
    from federation.registry.etcd.store import EtcdStore
    from federation.registry.moving import refuse_used

    shared = await EtcdStore.open(location(store, entry))
    try:
        await refuse_used(shared, store)
        return await put_back(backup, state, shared, utc_now(), replace=replace)
    finally:
        await shared.close()
