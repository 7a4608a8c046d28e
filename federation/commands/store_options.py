"""The options that say how an etcd is entered, for the commands that use the registry's store."""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, TypeVar

import click

from federation.commands.options import FILE
from federation.registry.etcd.location import Location, endpoints_and_prefix

F = TypeVar("F", bound=Callable[..., object])


class Entry(TypedDict):
    """How an etcd is entered, as the options say."""

    store_ca_file: Path | None
    store_cert_file: Path | None
    store_key_file: Path | None
    store_user: str
    store_password_file: Path | None


_OPTIONS = (
    click.option("--store-ca-file", type=FILE, help="The CA of etcd: with it the connection is TLS."),
    click.option("--store-cert-file", type=FILE, help="The certificate that is shown to etcd."),
    click.option("--store-key-file", type=FILE, help="Its key."),
    click.option("--store-user", default="", metavar="NAME", help="Whom to be for etcd."),
    click.option("--store-password-file", type=FILE, help="The password of that user."),
)


def entry_options(command: F) -> F:
    """Add the options of `Entry`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def location(store: str, entry: Entry) -> Location:
    """The etcd at *store*, entered as *entry* says."""
    endpoints, prefix = endpoints_and_prefix(store)
    return Location(
        endpoints,
        prefix,
        entry["store_ca_file"],
        entry["store_cert_file"],
        entry["store_key_file"],
        entry["store_user"],
        entry["store_password_file"],
    )
