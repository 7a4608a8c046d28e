"""`fedgate agent`: run the agent of a cluster that has joined."""

import click

from federation.commands.running import agent_options
from federation.settings import AgentSettings


@click.command()
@click.option(
    "--take-over",
    is_flag=True,
    help="Take over from the agent that runs on the same state: it ends when this one answers for it.",
)
@agent_options
def agent(settings: AgentSettings, take_over: bool) -> None:
    """Run the agent of a cluster that has joined.

    It publishes what --source says, answers DNS, and serves this cluster's gateways, with or
    without the hub. To restart one that runs, start another with --take-over: nothing goes
    unanswered meanwhile.
    """
    from federation.agent_process import run

    run(settings, take_over=take_over)
