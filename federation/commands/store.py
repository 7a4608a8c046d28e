"""`fedgate store`: the registry's store, while no hub uses it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from federation.commands.options import DefaultGroup
from federation.commands.store_options import Entry, entry_options, location
from federation.errors import StoreUnusable
from federation.registry.etcd.location import SCHEME

if TYPE_CHECKING:
    from federation.registry.etcd.store import EtcdStore
    from federation.registry.sqlite import SqliteStore

_FILE = "sqlite:"


@click.group(cls=DefaultGroup)
def store() -> None:
    """Move the registry from one store to another."""


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@entry_options
def migrate(source: str, target: str, **entry: Unpack[Entry]) -> None:
    """Copy the registry FROM one store TO another that is empty, each sqlite:FILE or etcd://HOST,.../PREFIX.

    Stop all hubs first, and start one on the new store afterwards. The old store is left as it was. The
    authorities' keys of a hub alone are in its folder: that hub is the one to start first, with a
    passphrase, and it puts them into the store. From etcd to a file they come along.
    """
    moved = asyncio.run(_migrate(source, target, entry))
    click.echo(f"{moved} records moved to {target}")
    if target.startswith(SCHEME):
        click.echo(f"next: fedgate hub --store {target} --passphrase-file FILE", err=True)


async def _migrate(source: str, target: str, entry: Entry) -> int:
    from federation.registry.moving import move, refuse_used

    old = await _opened(source, entry, must_be_there=True)
    try:
        if source.startswith(SCHEME):
            await refuse_used(old, source)
        new = await _opened(target, entry)
        try:
            return await move(old, new)
        finally:
            await new.close()
    finally:
        await old.close()


async def _opened(text: str, entry: Entry, *, must_be_there: bool = False) -> "EtcdStore | SqliteStore":
    if text.startswith(SCHEME):
        from federation.registry.etcd.store import EtcdStore

        return await EtcdStore.open(location(text, entry))
    if not text.startswith(_FILE):
        raise click.UsageError(f"{text!r} is no store: want sqlite:FILE or etcd://HOST[:PORT],.../PREFIX")
    from federation.registry.sqlite import SqliteStore

    path = Path(text.removeprefix(_FILE))
    if must_be_there and not path.exists():
        raise StoreUnusable(str(path), "it is not there", "a hub's is registry.db in its state folder")
    return await SqliteStore.open(path)
