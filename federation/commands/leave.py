"""`fedgate leave`: take this cluster out of the clusterset."""

import sys

import click

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
        _ask(name)
    answer = admin.post("/v1/leave", {})
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"{name} has left the clusterset"])


def _ask(name: str) -> None:
    """Ask a person; a script has to say what it wants."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{name} would leave the clusterset; say --yes", click.get_current_context())
    click.confirm(f"Take {name} and its services out of the clusterset?", abort=True, err=True)
