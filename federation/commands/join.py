"""`fedgate join`: join this cluster to a clusterset, and run its agent."""

import shlex
from datetime import timedelta
from pathlib import Path

import click

from clusters.join import join as join_clusterset
from federation.commands.options import FILE, Duration
from federation.commands.running import agent_options, agent_settings
from federation.commands.secret_input import read_token
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
    state: Path | None,
    source: Path | None,
    dns_listen: tuple[str, ...],
    dns_forward: tuple[str, ...],
    vip_ranges: tuple[str, ...],
    ads_listen: str | None,
    enrol_listen: str | None,
) -> None:
    """Join this cluster to a clusterset, and run its agent.

    The token comes on stdin, as in `fedgate token create NAME`'s line, from --token-file or from
    FEDGATE_TOKEN: never as an argument. The hub is checked against the token before the secret
    leaves, and the cluster's own key never does.
    """
    # Everything that can be wrong here is found before the token is spent.
    settings = agent_settings(state, source, dns_listen, dns_forward, vip_ranges, ads_listen, enrol_listen)
    line = read_token(TokenKind.JOIN, arguments, token_file)
    joined = join_clusterset(line, settings.state, rejoin=rejoin, timeout=timeout.total_seconds())
    membership = joined.identity.membership
    click.echo(f"{membership.cluster} has joined {membership.domain} through {joined.hub}", err=True)
    if joined.warning:
        click.echo(f"warning: {joined.warning}", err=True)
    if no_agent:
        where = f" --state {shlex.quote(str(state))}" if state else ""
        click.echo(f"next: fedgate agent{where}", err=True)
        return
    from federation.agent import run

    run(settings)
