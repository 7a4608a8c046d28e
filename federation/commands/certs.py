"""`fedgate certs`: the certificates that this cluster's agent holds."""

import click

from federation.commands.answers import records
from federation.commands.options import DefaultGroup, Side, admin_options, agent, output_option
from federation.output import Output
from federation.table import Table, plain, text, when

TABLE = Table(
    "certs",
    (
        plain("SPIFFE-ID", "spiffe_id", flexible=True),
        plain("KIND", "kind"),
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
    """Show the certificates that the agent holds.

    Their keys are never shown.
    """


@certs.command("list")
@admin_options(Side.AGENT)
@output_option
def list_certs(output: Output) -> None:
    """List the certificates, and when each is renewed."""
    output.records(records(agent().get("/v1/certs"), "certs"), TABLE)
