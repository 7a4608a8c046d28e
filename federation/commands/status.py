"""`fedgate status`: how this cluster's agent is doing, on one screen."""

import click

from clusters.durations import relative
from federation.commands.answers import items, record
from federation.commands.options import Side, admin_options, agent, output_option
from federation.output import Format, Output
from federation.table import Json, Record, text


@click.command()
@admin_options(Side.AGENT)
@output_option
def status(output: Output) -> None:
    """Show how this cluster's agent is doing."""
    answer = agent().get("/v1/status")
    if output.for_machines:
        output.document(answer)
    elif output.format is Format.NAME:
        output.lines([text(answer.get("cluster"))])
    else:
        output.lines(_screen(answer, output))


def _screen(answer: Record, output: Output) -> list[str]:
    hub, source = record(answer.get("hub")), record(answer.get("source"))
    trust_domain = text(answer.get("trust_domain"))
    connected = "connected" if hub.get("connected") else "disconnected"
    state, since = text(source.get("state")), hub.get("since")
    offered = ", ".join(f"{key}: {_count(source.get(key))}" for key in ("services", "workloads", "gateways"))
    moment = f", since {relative(since, output.now())}" if isinstance(since, str) else ""
    return [
        f"cluster:  {output.bold(text(answer.get('cluster')))}, trust domain {trust_domain}",
        f"hub:      {output.paint(connected, connected)}, {text(hub.get('address'))}{moment}",
        *_why(hub),
        f"source:   {output.paint(state, state)}, {text(source.get('path'))}, {offered}",
        *(f"          {text(problem)}" for problem in items(source.get("problems"))),
        *_endpoints(record(answer.get("endpoints")), output),
        *_workload_api(record(answer.get("workload_api"))),
    ]


def _endpoints(counted: Record, output: Output) -> list[str]:
    """How many endpoints are in which state, where some are checked."""
    states = [output.paint(f"{state}: {text(count)}", state) for state, count in counted.items() if count]
    return [f"checked:  {', '.join(states)}"] if states else []


def _workload_api(answer: Record) -> list[str]:
    """Where workloads fetch their SVIDs, and how many are connected."""
    if not answer:
        return []
    return [f"SVIDs:    {text(answer.get('endpoint'))}, connections: {text(answer.get('connections'))}"]


def _why(hub: Record) -> list[str]:
    """Why the hub is not connected, and what to do."""
    if hub.get("connected"):
        return []
    return [f"          {text(hub[key])}" for key in ("reason", "hint") if hub.get(key)]


def _count(value: Json) -> str:
    return str(len(value)) if isinstance(value, list) else text(value)
