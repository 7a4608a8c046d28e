"""`fedgate hub`: run the hub."""

from datetime import timedelta
from pathlib import Path
from typing import Unpack

import click

from federation import paths
from federation.commands.options import FILE, STATE, Duration
from federation.commands.running import log_level_option
from federation.commands.store_options import Entry, entry_options, location
from federation.settings import (
    DEFAULT_DOMAIN,
    DEFAULT_LISTEN,
    DEFAULT_SYNC_LISTEN,
    DEFAULT_VIP_RANGES,
    HubSettings,
)
from pki.lifetimes import Lifetimes


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
    help="Seals the keys of root and hub CA at rest.",
)
@click.option("--root-cert", type=FILE, help="First start: use this root, PEM, instead of a new one.")
@click.option("--root-key", type=FILE, help="First start: its key, PEM; the hub seals it.")
@click.option(
    "--hub-ca-csr",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Before the first start: write the request for a hub CA to this file, and end.",
)
@click.option(
    "--hub-ca-chain",
    type=FILE,
    help="First start: what the request was answered with, the root at its end, PEM.",
)
@click.option("--admin-listen", metavar="ADDRESS", help="Serve the admin API on TCP too, with TLS.")
@click.option("--admin-token-file", type=FILE, help="The bearer token that --admin-listen asks for.")
@click.option("--bundle-listen", metavar="ADDRESS", help="Serve the SPIFFE bundles of all clusters here.")
@click.option("--bundle-cert", type=FILE, help="Show this certificate there, PEM, for https_web.")
@click.option("--bundle-key", type=FILE, help="Its key, PEM.")
@click.option(
    "--bundle-refresh",
    type=Duration(),
    default="5m",
    show_default=True,
    help="Have others look again for bundles after this; new authorities sign after twice as long.",
)
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
    default="90d",
    show_default=True,
    help="How long the hub's own certificate is good, at most as long as the hub CA; renewed at half of it.",
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
@click.option(
    "--name", default="", help="What other hubs with the same store call this one. [default: its host]"
)
@entry_options
@log_level_option
def hub(
    state: Path | None,
    domain: str,
    listen: str,
    sync_listen: str,
    advertise: tuple[str, ...],
    vip_ranges: tuple[str, ...],
    passphrase_file: Path | None,
    root_cert: Path | None,
    root_key: Path | None,
    hub_ca_csr: Path | None,
    hub_ca_chain: Path | None,
    admin_listen: str | None,
    admin_token_file: Path | None,
    bundle_listen: str | None,
    bundle_cert: Path | None,
    bundle_key: Path | None,
    bundle_refresh: timedelta,
    issuing_ca_lifetime: timedelta,
    hub_ca_lifetime: timedelta,
    hub_cert_lifetime: timedelta,
    grace: timedelta,
    store: str | None,
    name: str,
    **entry: Unpack[Entry],
) -> None:
    """Run the hub: the control plane that all clusters share.

    The first start makes the root certificate and the registry. A restart loses nothing, and while
    the hub is away the clusters go on calling each other. Hubs with the same --store are one
    federation: each has a --state of its own and the same passphrase.
    """
    from federation.passphrases import given

    if store is None and any(entry.values()):
        raise click.UsageError("the other --store options need --store etcd://HOST,.../PREFIX")
    settings = HubSettings(
        state=state or paths.hub_state(),
        domain=domain,
        listen=listen,
        sync_listen=sync_listen,
        advertise=advertise,
        vip_ranges=vip_ranges or DEFAULT_VIP_RANGES,
        passphrase=given(passphrase_file),
        root_cert=root_cert,
        root_key=root_key,
        hub_ca_chain=hub_ca_chain,
        admin_listen=admin_listen,
        admin_token_file=admin_token_file,
        bundle_listen=bundle_listen,
        bundle_cert=bundle_cert,
        bundle_key=bundle_key,
        bundle_refresh=bundle_refresh,
        lifetimes=Lifetimes(hub_ca_lifetime, hub_cert_lifetime, issuing_ca_lifetime),
        grace=grace,
        store=location(store, entry) if store else None,
        name=name,
    )
    if hub_ca_csr is not None:
        from federation.outside import write_request

        write_request(settings, hub_ca_csr)
        click.echo(f"have {hub_ca_csr} signed; then start with --hub-ca-chain CHAIN", err=True)
        return
    from federation.hub import run

    run(settings)
