"""`fedgate leave`: take this cluster out of the clusterset."""

import click

from federation.commands.consent import ask
from federation.commands.options import Side, admin_options, agent, output_option
from federation.output import Output
from federation.table import text


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@admin_options(Side.AGENT)
@output_option
def leave(yes: bool, output: Output) -> None:
    """Take this cluster out of the clusterset.

    Its services disappear from the other clusters, and theirs from here, at once. To come back it
    needs a new token.
    """
    admin = agent()
    name = text(admin.get("/v1/status").get("cluster"))
    if not yes:
        ask(f"Take {name} and its services out of the clusterset?", f"{name} would leave the clusterset")
    answer = admin.post("/v1/leave", {})
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"{name} has left the clusterset"])
