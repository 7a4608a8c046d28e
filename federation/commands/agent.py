"""`fedgate agent`: run the agent of a cluster that has joined."""

import click

from federation.commands.running import agent_options
from federation.settings import AgentSettings


@click.command()
@agent_options
def agent(settings: AgentSettings) -> None:
    """Run the agent of a cluster that has joined.

    It publishes what --source says, answers DNS, and serves this cluster's gateways, with or
    without the hub.
    """
    from federation.agent import run

    run(settings)
