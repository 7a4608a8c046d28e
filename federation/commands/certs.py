"""`fedgate certs`: the certificates that the agent or the hub holds, and until when."""

from datetime import timedelta

import click

from clusters.durations import moment
from federation.commands.answers import named, records
from federation.commands.options import DefaultGroup, Duration, Side, admin_options, either, output_option
from federation.output import Output
from federation.table import Table, plain, text, when

TABLE = Table(
    "certs",
    (
        plain("NAME", "spiffe_id", flexible=True),
        plain("KIND", "kind"),
        plain("CLUSTER", "cluster", wide=True),
        plain("STATE", "state", state=True),
        when("EXPIRES", "not_after"),
        when("RENEWS", "renews_at"),
        plain("SERIAL", "serial", wide=True),
        plain("NOT-BEFORE", "not_before", wide=True),
        plain("NOT-AFTER", "not_after", wide=True),
    ),
    name=lambda cert: text(cert.get("spiffe_id")),
    empty="no certificates yet",
)


@click.group(cls=DefaultGroup)
def certs() -> None:
    """Show the certificates that the agent or the hub holds.

    Their keys are never shown.
    """


@certs.command("list")
@click.option("--expiring", type=Duration(), help="Only those that end within this, or have ended.")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def list_certs(expiring: timedelta | None, output: Output) -> None:
    """List the certificates, and when each is renewed.

    The agent's are its SVIDs and its issuing CA. With --hub: root, hub CA, the hub's own, and the
    issuing CA of each cluster.
    """
    held = records(either(Side.AGENT).get("/v1/certs"), "certs")
    if expiring is not None:
        until = output.now() + expiring
        held = [cert for cert in held if moment(text(cert.get("not_after"))) <= until]
    output.records(held, TABLE)


@certs.command()
@click.argument("name")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def inspect(name: str, output: Output) -> None:
    """Show all there is to say of the certificate NAME: its SPIFFE ID or subject."""
    held = records(either(Side.AGENT).get("/v1/certs"), "certs")
    output.record(named("certificate", name, held, TABLE.name), TABLE)
