"""`fedgate agent`: run the agent of a cluster that has joined."""

from pathlib import Path

import click

from federation.commands.running import agent_options, agent_settings


@click.command()
@agent_options
def agent(
    state: Path | None,
    source: Path | None,
    dns_listen: tuple[str, ...],
    dns_forward: tuple[str, ...],
    vip_ranges: tuple[str, ...],
    ads_listen: str | None,
    enrol_listen: str | None,
) -> None:
    """Run the agent of a cluster that has joined.

    It publishes what --source says, answers DNS, and serves this cluster's gateways, with or
    without the hub.
    """
    settings = agent_settings(state, source, dns_listen, dns_forward, vip_ranges, ads_listen, enrol_listen)
    from federation.agent import run

    run(settings)
