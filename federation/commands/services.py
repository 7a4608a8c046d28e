"""`fedgate services`: the services of the set, and which clusters offer them."""

from datetime import datetime, timedelta

import click

from clusters.durations import short
from clusters.names import CLUSTERSET_DOMAIN
from federation.commands.answers import items, named, record, records
from federation.commands.options import DefaultGroup, Side, admin_options, either, hub, output_option
from federation.errors import Exit
from federation.output import Format, Output
from federation.table import Column, Record, Table, plain, text, when


def _name(service: Record) -> str:
    return f"{text(service.get('namespace'))}/{text(service.get('name'))}"


def _ports(service: Record, _: datetime) -> str:
    """`8080/TCP(L7)`: each port with how the gateways carry it; an older hub says only whether they do."""
    return text([_port(record(port)) for port in items(service.get("ports"))])


def _port(port: Record) -> str:
    carriage = port.get("carriage") or ("" if port.get("carried", True) else "not carried")
    shown = f"({text(carriage)})" if carriage else ""
    return f"{text(port.get('number'))}/{text(port.get('protocol') or 'TCP')}{shown}"


def _clusters(service: Record, _: datetime) -> str:
    """`cloud(2)`: the cluster and how many endpoints are ready there."""
    offered = map(record, items(service.get("clusters")))
    return text([f"{text(c.get('name'))}({text(c.get('ready_endpoints'))})" for c in offered])


def _traffic(service: Record, _: datetime) -> str:
    """`Failover`, or `Weighted: cloud 80, onprem 20`."""
    policy, offered = text(service.get("policy")), map(record, items(service.get("clusters")))
    if policy != "Weighted":
        return policy
    return f"{policy}: " + ", ".join(f"{text(c.get('name'))} {text(c.get('weight'))}" for c in offered)


def _trouble(service: Record, _: datetime) -> str:
    """How the exporters disagree; or why the hub does not pass on what this cluster has."""
    if refused := service.get("refused"):
        return f"refused: {text(refused)}"
    return text(service.get("conflict"))


TABLE = Table(
    "services",
    (
        Column("NAME", lambda service, _: _name(service)),
        Column("PORTS", _ports, flexible=True),
        Column("CLUSTERS", _clusters, flexible=True),
        Column("TRAFFIC", _traffic, wide=True, flexible=True),
        plain("VIPS", "vips", flexible=True),
        Column("CONFLICT", _trouble, flexible=True),
        plain("DNS-NAME", "dns_name", wide=True, flexible=True),
    ),
    name=_name,
    empty="no services yet; a cluster offers those that its agent's --source file names",
)

EXPORTERS = Table(
    "exporters",
    (
        plain("CLUSTER", "name"),
        plain("STATE", "state", state=True),
        plain("READY", "ready_endpoints"),
        Column("WHEN-AWAY", lambda exporter, _: _contract(record(exporter.get("staleness"))), flexible=True),
        plain("REASON", "reason", flexible=True),
    ),
)

ENDPOINTS = Table(
    "endpoints",
    (
        plain("ENDPOINT", "address"),
        plain("STATE", "state", state=True),
        when("SINCE", "since"),
        plain("REASON", "reason", flexible=True),
    ),
)


def _contract(staleness: Record) -> str:
    """`drain 10m`: what becomes of calls when the cluster is not heard of, and after how long."""
    after = staleness.get("after_seconds")
    span = short(timedelta(seconds=after)) if isinstance(after, float | int) else ""
    return f"{text(staleness.get('policy'))} {span}".strip()


def _wanted(text: str) -> str:
    """NAMESPACE/NAME of `shop/catalog`, `catalog.shop`, or the whole DNS name."""
    if "/" in text:
        return text
    host = text.lower().removesuffix(".").removesuffix(f".svc.{CLUSTERSET_DOMAIN}").removesuffix(".svc")
    name, dot, namespace = host.partition(".")
    return f"{namespace}/{name}" if dot else host


@click.group(cls=DefaultGroup)
def services() -> None:
    """Show the services of the set, and who offers them.

    The hub is asked, or this cluster's agent where there is no hub.
    """


@services.command("list")
@click.option("-n", "--namespace", help="Only those of this namespace.")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def list_services(namespace: str | None, output: Output) -> None:
    """List the services."""
    found = records(either(Side.HUB).get("/v1/services"), "services")
    output.records([s for s in found if namespace in (None, s.get("namespace"))], TABLE)


@services.command()
@click.argument("name")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def show(name: str, output: Output) -> None:
    """Show the service NAME: shop/catalog, catalog.shop, or the whole DNS name.

    Each cluster that exports it has a state: connected, held while calls go on though nobody hears of its
    agent, or out, when no call is sent there any more; and why. The agent (--agent) says what holds for its
    cluster's callers, and shows its own endpoints as well, and how they stand.
    """
    found = records(either(Side.HUB).get("/v1/services"), "services")
    service = named("service", _wanted(name), found, _name)
    output.record(service, TABLE)
    if service.get("clusters") and output.format in (Format.TABLE, Format.WIDE):
        output.lines([""])
        output.records([record(each) for each in items(service["clusters"])], EXPORTERS)
    if service.get("endpoints") and output.format in (Format.TABLE, Format.WIDE):
        output.lines([""])
        output.records([record(each) for each in items(service["endpoints"])], ENDPOINTS)


@services.command()
@click.argument("name")
@click.option("--from", "origin", required=True, metavar="CLUSTER", help="As this cluster has it.")
@admin_options(Side.HUB)
@output_option
def why(name: str, origin: str, output: Output) -> int:
    """Explain why a cluster has the service NAME, or has it not: step by step.

    Who exports it, whether grants let them and for whom, how that is merged, and whether it is reached.
    Exits with 1 if the cluster does not have it, and with 3 if nobody has.
    """
    answer = hub().get("/v1/why", service=_wanted(name), **{"from": origin})
    visible = bool(answer.get("visible"))
    if output.for_machines:
        output.document(answer)
    elif output.format is Format.NAME:
        output.lines([text(each) for each in items(answer.get("clusters"))])
    else:
        at = f" at {text(answer.get('vips'))}" if answer.get("vips") else ""
        verdict = f"{origin} has it{at}" if visible else f"{origin} does not have it"
        output.lines([f"{text(answer.get('service'))}: {verdict}"])
        for step in map(record, items(answer.get("steps"))):
            output.lines([f"{_mark(text(step.get('holds')), output)} {text(step.get('text'))}"])
    return Exit.OK if visible else Exit.CHECK_FAILED


def _mark(holds: str, output: Output) -> str:
    status = {"yes": "ok", "no": "fail"}.get(holds)
    if status is None:
        return "-"
    return output.paint(output.mark(status), status)
