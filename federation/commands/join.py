"""`fedgate join`: join this cluster to a clusterset, and run its agent."""

import shlex
from datetime import timedelta
from pathlib import Path

import click

from clusters.join import join as join_clusterset
from clusters.sources.file import load
from federation.commands.options import FILE, Duration
from federation.commands.running import agent_options
from federation.commands.secret_input import read_token
from federation.paths import agent_state
from federation.settings import AgentSettings
from pki.sealing import Seal
from pki.tokens import TokenKind


@click.command()
@click.argument("arguments", nargs=-1, metavar="")
@click.option("--token-file", type=FILE, envvar="FEDGATE_TOKEN_FILE", help="Read the token from here.")
@click.option("--rejoin", is_flag=True, help="Take the place of the cluster that has this name.")
@click.option("--no-agent", is_flag=True, help="Only join; `fedgate agent` runs the agent later.")
@click.option(
    "--timeout", type=Duration(), default="10s", show_default=True, help="Give each hub so long to answer."
)
@agent_options
def join(
    arguments: tuple[str, ...],
    token_file: Path | None,
    rejoin: bool,
    no_agent: bool,
    timeout: timedelta,
    settings: AgentSettings,
) -> None:
    """Join this cluster to a clusterset, and run its agent.

    The token comes on stdin, as in `fedgate token create NAME`'s line, from --token-file or from
    FEDGATE_TOKEN: never as an argument. The hub is checked against the token before the secret
    leaves, and the cluster's own key never does.
    """
    if settings.source:
        load(settings.source)  # what is wrong in there is said before the token is spent
    line = read_token(TokenKind.JOIN, arguments, token_file)
    seal, seconds = Seal(settings.passphrase), timeout.total_seconds()
    joined = join_clusterset(line, settings.state, rejoin=rejoin, timeout=seconds, seal=seal)
    membership = joined.identity.membership
    click.echo(f"{membership.cluster} has joined {membership.domain} through {joined.hub}", err=True)
    if joined.warning:
        click.echo(f"warning: {joined.warning}", err=True)
    if no_agent:
        elsewhere = settings.state != agent_state()
        where = f" --state {shlex.quote(str(settings.state))}" if elsewhere else ""
        click.echo(f"next: fedgate agent{where}", err=True)
        return
    from federation.agent_process import run

    run(settings)
