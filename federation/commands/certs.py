"""`fedgate certs`: the certificates that this cluster's agent holds, and taking a workload's away."""

import click

from federation.commands.answers import items, records
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


@certs.command()
@click.argument("spiffe_id", metavar="SPIFFE-ID")
@click.option("--undo", is_flag=True, help="Let the workload be who it was again.")
@admin_options(Side.AGENT)
@output_option
def revoke(spiffe_id: str, undo: bool, output: Output) -> None:
    """Take the certificate of a workload of this cluster away, and give it no other.

    Nobody calls from its addresses any more: new calls are refused at once, and open ones are ended. It stays
    so, also after a restart, until --undo.
    """
    answer = agent().post("/v1/certs/revoke", {"spiffe_id": spiffe_id, "undo": undo})
    if output.for_machines:
        output.document(answer)
        return
    output.lines([f"{spiffe_id} {text(answer.get('state'))}"])
    if not undo and (stay := items(answer.get("calls_stay_open_at"))):
        gateways = ", ".join(map(text, stay))
        output.say(f"connections that are open now stay open at {gateways}; `fedgate check` says why")
