"""`fedgate seal`: another passphrase for the keys in a state folder or a store, or one for the first time."""

import asyncio
from pathlib import Path
from typing import Unpack

import click

from federation.commands.options import FILE, STATE
from federation.commands.store_options import Entry, entry_options, location


@click.command()
@click.option("--state", type=STATE, help="The state folder of a hub or agent that does not run.")
@click.option(
    "--store", metavar="etcd://HOST[:PORT],.../PREFIX", help="The store of hubs of which none runs, instead."
)
@click.option("--passphrase-file", type=FILE, help="The passphrase that the keys are sealed with now.")
@click.option("--new-passphrase-file", type=FILE, help="The passphrase to seal them with.")
@click.option("--without", is_flag=True, help="Use no passphrase of yours from now on.")
@entry_options
def seal(
    state: Path | None,
    store: str | None,
    passphrase_file: Path | None,
    new_passphrase_file: Path | None,
    without: bool,
    **entry: Unpack[Entry],
) -> None:
    """Seal the keys in a state folder with another passphrase.

    All of them or none are changed, also if this is interrupted. The old passphrase may come as it
    does for `fedgate hub`. Without one of yours an agent's key lies open in its 0600 file, and a
    hub's keys are sealed with one that lies beside them. Keys in a --store always need one.
    """
    if without == (new_passphrase_file is not None):
        raise click.UsageError("say either --new-passphrase-file or --without")
    if (state is None) == (store is None):
        raise click.UsageError("say either --state or --store")
    from federation.passphrases import given
    from federation.resealing import sealed_anew
    from pki import keystore

    old = given(passphrase_file)
    new = keystore.read(new_passphrase_file).strip() if new_passphrase_file else None
    if state is not None:
        sealed = sealed_anew(state, old, new)
    elif store is not None and new is not None:
        sealed = asyncio.run(_in_store(store, entry, old, new))
    else:
        raise click.UsageError("keys in a store are sealed with a passphrase of yours: --new-passphrase-file")
    for name in sealed:
        click.echo(name)


async def _in_store(store: str, entry: Entry, old: bytes | None, new: bytes) -> tuple[str, ...]:
    from federation.registry.etcd.store import EtcdStore
    from federation.resealing import sealed_anew_in

    opened = await EtcdStore.open(location(store, entry))
    try:
        return await sealed_anew_in(opened, store, old, new)
    finally:
        await opened.close()
