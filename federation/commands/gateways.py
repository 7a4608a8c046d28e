"""`fedgate gateways`: see this cluster's gateways, whether they are in sync, and let one enrol."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import click

from clusters.durations import short
from federation.commands.answers import record, records
from federation.commands.gateway_run import rules, run
from federation.commands.options import (
    DefaultGroup,
    Duration,
    Side,
    admin_options,
    agent,
    output_option,
    quiet_option,
)
from federation.commands.probes import probes_column
from federation.errors import WaitedInVain
from federation.output import Format, Output
from federation.table import Column, Record, Table, plain, text, when

LIST = Table(
    "gateways",
    (
        plain("NAME", "name"),
        plain("ROLES", "roles"),
        plain("STATE", "state", state=True),
        plain("CONNECTED", "connected"),
        when("SINCE", "since"),
        Column("PROBES", lambda gateway, now: probes_column(gateway, now)),
        plain("ADDRESS", "address", flexible=True),
        plain("DETAIL", "detail", wide=True, flexible=True),
    ),
    empty="no gateway has connected yet; `fedgate gateways run` runs one",
)
_SYNC_KINDS = ("CDS", "EDS", "LDS", "RDS", "SDS")
_POLL = 0.2


def _held(kind: str) -> Column:
    """How many resources of *kind* the gateway has acknowledged."""

    def show(gateway: Record, _: datetime) -> str:
        return text(record(gateway.get("resources")).get(kind, 0))

    return Column(kind, show)


SYNC = Table(
    "gateways",
    (
        plain("NAME", "name"),
        plain("STATE", "state", state=True),
        *(_held(kind) for kind in _SYNC_KINDS),
        when("SINCE", "since", wide=True),
        plain("DETAIL", "detail", flexible=True),
    ),
    empty=LIST.empty,
)


@click.group(cls=DefaultGroup)
def gateways() -> None:
    """Run gateways; see them and whether they are in sync."""


gateways.add_command(run)
gateways.add_command(rules)


@gateways.command("list")
@admin_options(Side.AGENT)
@output_option
def list_gateways(output: Output) -> None:
    """List this cluster's gateways."""
    output.records(records(agent().get("/v1/gateways"), "gateways"), LIST)


@gateways.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--wait", type=Duration(), default="0s", help="Wait so long for all of them to be SYNCED.")
@admin_options(Side.AGENT)
@output_option
def sync(names: tuple[str, ...], wait: timedelta, output: Output) -> None:
    """Show what each gateway has taken: SYNCED, STALE, or NACK with Envoy's own words.

    With --wait: exits with 6 if, in the end, one of them is not SYNCED or there is none.
    """
    admin = agent()
    if wait <= timedelta(0):
        output.records(_chosen(records(admin.get("/v1/gateways"), "gateways"), names), SYNC)
        return
    found = synced(
        lambda: _chosen(records(admin.get("/v1/gateways"), "gateways"), names),
        names,
        wait.total_seconds(),
        time.monotonic,
        time.sleep,
    )
    output.records(found, SYNC)


@gateways.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["ingress", "egress", "both"]),
    default="both",
    show_default=True,
    help="Fixed for good.",
)
@click.option("--ttl", type=Duration(), default="15m", show_default=True, help="How long it is good.")
@quiet_option
@admin_options(Side.AGENT)
@output_option
def token(name: str, role: str, ttl: timedelta, quiet: bool, output: Output) -> None:
    """Make a token with which the gateway NAME may enrol from another machine, once."""
    seconds = int(ttl.total_seconds())
    made = agent().post("/v1/gateway-tokens", {"name": name, "role": role, "ttl_seconds": seconds})
    if quiet:
        output.lines([text(made.get("token"))])
    elif output.for_machines:
        output.document(made)
    elif output.format is Format.NAME:
        output.lines([text(made.get("id"))])
    else:
        output.lines([f"echo {text(made.get('token'))} | fedgate gateways run --enrol"])
        output.say(f"paste this on the gateway's machine, within {short(ttl)}; it works once")


def synced(
    look: Callable[[], list[Record]],
    names: Sequence[str],
    wait: float,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> list[Record]:
    """Look until every gateway, and each of *names*, is SYNCED; raise when *wait* seconds are over."""
    deadline = clock() + wait
    while True:
        found = look()
        waiting = [text(g.get("name")) for g in found if text(g.get("state")).upper() != "SYNCED"]
        waiting += [name for name in names if name not in {g.get("name") for g in found}]
        if found and not waiting:
            return found
        if clock() >= deadline:
            raise WaitedInVain(f"not in sync: {', '.join(waiting) or 'no gateway has connected'}", wait)
        pause(_POLL)


def _chosen(found: list[Record], names: Sequence[str]) -> list[Record]:
    return [gateway for gateway in found if not names or gateway.get("name") in names]
