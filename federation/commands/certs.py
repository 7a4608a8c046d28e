"""`fedgate certs`: the certificates that the agent or the hub holds, and taking a workload's away."""

from datetime import timedelta

import click

from clusters.durations import moment
from federation.commands.answers import items, named, records
from federation.commands.options import (
    DefaultGroup,
    Duration,
    Side,
    admin_options,
    agent,
    either,
    output_option,
)
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

    The agent's are its SVIDs, its issuing CA and its JWT keys. With --hub: root, hub CA, the hub's own, and
    the issuing CA of each cluster.
    """
    held = records(either(Side.AGENT).get("/v1/certs"), "certs")
    if expiring is not None:
        until = output.now() + expiring
        held = [
            cert for cert in held if isinstance(end := cert.get("not_after"), str) and moment(end) <= until
        ]
    output.records(held, TABLE)


@certs.command()
@click.argument("name")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def inspect(name: str, output: Output) -> None:
    """Show all there is to say of the certificate NAME: its SPIFFE ID or subject."""
    held = records(either(Side.AGENT).get("/v1/certs"), "certs")
    output.record(named("certificate", name, held, TABLE.name), TABLE)


@certs.command()
@click.argument("spiffe_id", metavar="SPIFFE-ID")
@click.option("--undo", is_flag=True, help="Let the workload be who it was again.")
@admin_options(Side.AGENT)
@output_option
def revoke(spiffe_id: str, undo: bool, output: Output) -> None:
    """Take the certificate of a workload of this cluster away, and give it no other.

    Nobody calls from its addresses any more: new calls are refused at once, and open ones are ended. All
    clusters refuse whoever shows its certificate. It stays so, also after a restart, until --undo.
    """
    answer = agent().post("/v1/certs/revoke", {"spiffe_id": spiffe_id, "undo": undo})
    if output.for_machines:
        output.document(answer)
        return
    output.lines([f"{spiffe_id} {text(answer.get('state'))}"])
    if not undo and (stay := items(answer.get("calls_stay_open_at"))):
        gateways = ", ".join(map(text, stay))
        output.say(f"connections that are open now stay open at {gateways}; `fedgate check` says why")
    if answer.get("hub_connected") is False:
        output.say("the hub is not connected: other clusters hear of it when it is")
