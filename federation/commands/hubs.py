"""`fedgate hubs`: the hubs that run, and which of them is elected."""

from datetime import datetime

import click

from federation.commands.answers import records
from federation.commands.options import Side, admin_options, hub, output_option
from federation.output import Output
from federation.table import Column, Record, Table, plain, text, when


def _leader(hub: Record, _: datetime) -> str:
    return "yes" if hub.get("leader") else "-"


TABLE = Table(
    "hubs",
    (
        plain("NAME", "name"),
        plain("ADDRESSES", "addresses", flexible=True),
        plain("STATE", "state", state=True),
        Column("LEADER", _leader),
        plain("VERSION", "version"),
        when("SINCE", "since"),
        plain("SYNC", "sync", wide=True, flexible=True),
    ),
    name=lambda hub: text(hub.get("name")),
    empty="no hub has said yet that it runs",
)


@click.command()
@admin_options(Side.HUB)
@output_option
def hubs(output: Output) -> None:
    """Show the hubs that run, and which of them is elected.

    Any of them knows all that have the same store. The elected one takes the steps of a root rollover,
    renews the hub CA, sweeps up and follows foreign bundles; everything else is done by whichever hub
    is asked.
    """
    output.records(records(hub().get("/v1/hubs"), "hubs"), TABLE)
