"""`fedgate clusters`: the clusters of the set, and shutting one out of it."""

import time
from datetime import datetime, timedelta

import click

from clusters.names import cluster_name
from federation.commands.answers import items, named, record, records
from federation.commands.consent import ask
from federation.commands.options import DefaultGroup, Duration, Side, admin_options, hub, output_option
from federation.commands.probes import probes_column
from federation.errors import Exit
from federation.output import Format, Output
from federation.table import Column, Record, Table, counted, plain, text, when


def _services(cluster: Record, _: datetime) -> str:
    """`9`, or `9 (7 held back)` when that many are gone from a source that is not believed."""
    withheld = record(cluster.get("withheld"))
    back = f" ({text(withheld.get('services'))} held back)" if withheld else ""
    return f"{text(cluster.get('services'))}{back}"


TABLE = Table(
    "clusters",
    (
        plain("NAME", "name"),
        plain("STATE", "state", state=True),
        Column("SERVICES", _services),
        counted("GATEWAYS", "gateways"),
        Column("PROBES", probes_column),
        when("LAST-SEEN", "last_seen"),
        when("CA-EXPIRES", "ca_expires"),
        plain("VERSION", "version"),
        plain("CONNECTED", "connected", wide=True),
        plain("TRUST-DOMAIN", "trust_domain", wide=True),
        plain("SKEW-S", "clock_skew_seconds", wide=True),
    ),
    empty="no clusters yet; `fedgate token create NAME` makes the token for one",
)


PROBES = Table(
    "probes",
    (
        plain("FROM", "from"),
        plain("GATEWAY", "gateway"),
        plain("ADDRESS", "address"),
        plain("STATE", "state", state=True),
        when("SINCE", "since"),
        when("SAID", "said"),
        plain("REASON", "reason", flexible=True),
    ),
)


@click.group(cls=DefaultGroup)
def clusters() -> None:
    """Show the clusters of the set.

    And shut one out, or let it join again.
    """


@clusters.command("list")
@admin_options(Side.HUB)
@output_option
def list_clusters(output: Output) -> None:
    """List the clusters."""
    output.records(records(hub().get("/v1/clusters"), "clusters"), TABLE)


@clusters.command()
@click.argument("name")
@admin_options(Side.HUB)
@output_option
def show(name: str, output: Output) -> None:
    """Show all that the hub knows of the cluster NAME, and how others' gateways find its own."""
    cluster = named("cluster", name, records(hub().get("/v1/clusters"), "clusters"))
    output.record(cluster, TABLE)
    if (withheld := record(cluster.get("withheld"))) and output.format in (Format.TABLE, Format.WIDE):
        names = ", ".join(map(text, items(withheld.get("names"))))
        output.lines(["", f"held back until {text(withheld.get('until'))}: {names}"])
    if cluster.get("probes") and output.format in (Format.TABLE, Format.WIDE):
        output.lines([""])
        output.records([record(each) for each in items(cluster["probes"])], PROBES)


@clusters.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--wait", type=Duration(), default="5s", show_default=True, help="Wait so long for gateways to let go."
)
@admin_options(Side.HUB)
@output_option
def evict(name: str, yes: bool, wait: timedelta, output: Output) -> int:
    """Shut the cluster NAME out of the clusterset, now, whether or not it answers.

    Nobody believes its certificates from now on, open connections from and to it are ended, its services
    disappear, and its agent and its join tokens are refused. It cannot come back before `readmit`, and then
    only by a new token: whoever has its keys has nothing.

    Says how many gateways have nothing to do with it any more, and exits with 6 if some have not said so.
    """
    name = cluster_name(name)
    if not yes:
        ask(
            f"Shut {name} out of the clusterset, and cut its calls?",
            f"{name} would be shut out of the clusterset",
        )
    began = time.monotonic()
    answer = hub(wait).post(f"/v1/clusters/{name}/evict", {"wait_seconds": wait.total_seconds()})
    gateways, away = [record(each) for each in items(answer.get("let_go"))], items(answer.get("away"))
    done = [gateway for gateway in gateways if not gateway.get("reason")]
    if output.for_machines:
        output.document(answer)
    else:
        count = f"{len(done)} gateway{'' if len(done) == 1 else 's'}"
        output.lines([f"{name} evicted at {count} in {time.monotonic() - began:.1f} s"])
        for gateway in gateways:
            if reason := text(gateway.get("reason", "")).strip("-"):
                output.say(f"{text(gateway.get('cluster'))}'s {text(gateway.get('gateway'))}: {reason}")
        if away:
            until = text(answer.get("ca_expires"))
            clusters_away = ", ".join(map(text, away))
            output.say(
                f"not connected: {clusters_away}; until they hear of it they believe {name}, to {until}"
            )
    return Exit.OK if len(done) == len(gateways) and not away else Exit.TIMED_OUT


@clusters.command()
@click.argument("name")
@admin_options(Side.HUB)
@output_option
def accept(name: str, output: Output) -> None:
    """Believe that most services of the cluster NAME are to go.

    They were gone from its source when its agent was started, or the source was empty all of a sudden; so
    they are held back, and calls to them go on. `fedgate clusters show NAME` names them.
    """
    answer = hub().post(f"/v1/clusters/{cluster_name(name)}/accept", {})
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"{text(answer.get('services'))} services of {name} go, as its source says"])


@clusters.command()
@click.argument("name")
@admin_options(Side.HUB)
@output_option
def readmit(name: str, output: Output) -> None:
    """Let a cluster join under the NAME of one that was evicted. It needs a new token, and gets new keys."""
    name = cluster_name(name)
    answer = hub().post(f"/v1/clusters/{name}/readmit", {})
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"{name} may join again"])
        output.say(f"`fedgate token create {name}` makes the token for it; it joins with --rejoin")
