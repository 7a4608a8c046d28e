"""`fedgate trust`: trust domains outside of the federation, and how following their bundles goes."""

from pathlib import Path

import click

from clusters.foreign import Profile
from federation.commands.answers import named, records
from federation.commands.options import FILE, DefaultGroup, Side, admin_options, hub, output_option
from federation.output import Format, Output
from federation.table import Table, counted, plain, text, when

TABLE = Table(
    "trust",
    (
        plain("TRUST-DOMAIN", "trust_domain"),
        plain("STATE", "state", state=True),
        plain("PROFILE", "profile"),
        counted("AUTHORITIES", "authorities"),
        counted("JWT-KEYS", "jwt_keys"),
        when("FETCHED", "fetched_at"),
        when("NEXT", "next_look"),
        plain("URL", "url", wide=True),
        plain("SPIFFE-ID", "spiffe_id", wide=True),
        plain("SEQUENCE", "sequence", wide=True),
        plain("REASON", "reason", wide=True, flexible=True),
    ),
    name=lambda trust: text(trust.get("trust_domain")),
    empty="nobody outside is believed; `fedgate trust add DOMAIN URL` changes that",
)


@click.group(cls=DefaultGroup)
def trust() -> None:
    """Believe trust domains outside of the federation."""


@trust.command()
@click.argument("domain")
@click.argument("url")
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in Profile]),
    default=Profile.WEB.value,
    show_default=True,
    help="How the endpoint proves itself: by a certificate that the web knows, or by an X.509-SVID.",
)
@click.option("--spiffe-id", default="", metavar="ID", help="Who serves it; for https_spiffe.")
@click.option("--bundle", type=FILE, help="The bundle to begin with; for https_spiffe it proves the server.")
@admin_options(Side.HUB)
@output_option
def add(domain: str, url: str, profile: str, spiffe_id: str, bundle: Path | None, output: Output) -> None:
    """Believe workloads of DOMAIN, by the SPIFFE bundle that URL serves.

    The hub follows it from now on, and tells every cluster. Adding a domain again replaces its
    endpoint, and its bundle if there is --bundle.
    """
    document = bundle.read_text() if bundle else ""
    body = {"trust_domain": domain, "url": url, "profile": profile, "spiffe_id": spiffe_id}
    made = hub().post("/v1/trust", {**body, "bundle": document})
    if output.for_machines:
        output.document(made)
    elif output.format is Format.NAME:
        output.lines([text(made.get("trust_domain"))])
    else:
        output.lines([f"{domain} is believed by its bundle"])
        output.say(f"`fedgate trust show {domain}` tells whether it was fetched")


@trust.command("list")
@admin_options(Side.HUB)
@output_option
def list_trust(output: Output) -> None:
    """List whom outside the federation believes."""
    output.records(records(hub().get("/v1/trust"), "trust"), TABLE)


@trust.command()
@click.argument("domain")
@admin_options(Side.HUB)
@output_option
def show(domain: str, output: Output) -> None:
    """Show how following the bundle of DOMAIN goes."""
    found = named("trust domain", domain, records(hub().get("/v1/trust"), "trust"), TABLE.name)
    output.record(found, TABLE)


@trust.command()
@click.argument("domain")
@admin_options(Side.HUB)
@output_option
def remove(domain: str, output: Output) -> None:
    """Believe DOMAIN no more."""
    answer = hub().delete("/v1/trust", domain)
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"{domain} is not believed any more"])
