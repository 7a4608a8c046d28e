"""`fedgate hub`: run the hub."""

from datetime import timedelta
from pathlib import Path
from typing import TypedDict, Unpack

import click

from federation import paths
from federation.commands.options import FILE, STATE, Duration
from federation.commands.running import log_level_option
from federation.registry.etcd.location import Location, endpoints_and_prefix
from federation.settings import (
    DEFAULT_DOMAIN,
    DEFAULT_LISTEN,
    DEFAULT_SYNC_LISTEN,
    DEFAULT_VIP_RANGES,
    HubSettings,
)
from pki.lifetimes import Lifetimes


class _Entry(TypedDict):
    """How an etcd is entered, as the options say."""

    store_ca_file: Path | None
    store_cert_file: Path | None
    store_key_file: Path | None
    store_user: str
    store_password_file: Path | None


def _location(store: str | None, entry: _Entry) -> Location | None:
    if store is None:
        if any(entry.values()):
            raise click.UsageError("the other --store options need --store etcd://HOST,.../PREFIX")
        return None
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


@click.command()
@click.option("--state", type=STATE, help="Where its keys and registry are.")
@click.option(
    "--domain", default=DEFAULT_DOMAIN, show_default=True, help="The trust domain above the clusters'."
)
@click.option("--listen", default=DEFAULT_LISTEN, show_default=True, help="Where clusters join.")
@click.option(
    "--sync-listen", default=DEFAULT_SYNC_LISTEN, show_default=True, help="Where joined clusters connect."
)
@click.option(
    "--advertise",
    multiple=True,
    metavar="HOST[:PORT]",
    help="A name or address by which clusters reach this machine; repeatable.",
)
@click.option(
    "--vip-range",
    "vip_ranges",
    multiple=True,
    metavar="CIDR",
    help=f"Addresses for imported services; repeatable. [default: {', '.join(DEFAULT_VIP_RANGES)}]",
)
@click.option(
    "--passphrase-file",
    type=FILE,
    envvar="FEDGATE_PASSPHRASE_FILE",
    help="Seals the root key at rest.",
)
@click.option("--admin-listen", metavar="ADDRESS", help="Serve the admin API on TCP too, with TLS.")
@click.option("--admin-token-file", type=FILE, help="The bearer token that --admin-listen asks for.")
@click.option(
    "--issuing-ca-lifetime",
    type=Duration(),
    default="14d",
    show_default=True,
    help="How long the issuing CA of a cluster is good; renewed at half of it.",
)
@click.option(
    "--hub-ca-lifetime",
    type=Duration(),
    default="90d",
    show_default=True,
    help="How long the hub CA is good; renewed at half of it.",
)
@click.option(
    "--hub-cert-lifetime",
    type=Duration(),
    default="30d",
    show_default=True,
    help="How long the hub's own certificate is good; renewed at half of it.",
)
@click.option(
    "--grace",
    type=Duration(),
    default="7d",
    show_default=True,
    help="Let a cluster in again for so long after its issuing CA has ended.",
)
@click.option(
    "--store",
    metavar="etcd://HOST[:PORT],.../PREFIX",
    help="Keep the registry on this etcd. [default: a file in the state folder]",
)
@click.option("--store-ca-file", type=FILE, help="The CA of etcd: with it the connection is TLS.")
@click.option("--store-cert-file", type=FILE, help="The certificate that is shown to etcd.")
@click.option("--store-key-file", type=FILE, help="Its key.")
@click.option("--store-user", default="", metavar="NAME", help="Whom to be for etcd.")
@click.option("--store-password-file", type=FILE, help="The password of that user.")
@log_level_option
def hub(
    state: Path | None,
    domain: str,
    listen: str,
    sync_listen: str,
    advertise: tuple[str, ...],
    vip_ranges: tuple[str, ...],
    passphrase_file: Path | None,
    admin_listen: str | None,
    admin_token_file: Path | None,
    issuing_ca_lifetime: timedelta,
    hub_ca_lifetime: timedelta,
    hub_cert_lifetime: timedelta,
    grace: timedelta,
    store: str | None,
    **entry: Unpack[_Entry],
) -> None:
    """Run the hub: the control plane that all clusters share.

    The first start makes the root certificate and the registry. A restart loses nothing, and while
    the hub is away the clusters go on calling each other.
    """
    settings = HubSettings(
        state=state or paths.hub_state(),
        domain=domain,
        listen=listen,
        sync_listen=sync_listen,
        advertise=advertise,
        vip_ranges=vip_ranges or DEFAULT_VIP_RANGES,
        passphrase_file=passphrase_file,
        admin_listen=admin_listen,
        admin_token_file=admin_token_file,
        lifetimes=Lifetimes(hub_ca_lifetime, hub_cert_lifetime, issuing_ca_lifetime),
        grace=grace,
        store=_location(store, entry),
    )
    from federation.hub import run

    run(settings)
