"""`fedgate gateways run` and `rules`: run one gateway, a real Envoy, and lead calls to it."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from federation.commands.options import FILE, STATE, Duration, Size
from federation.commands.running import log_level_option
from federation.commands.secret_input import read_token
from pki.tokens import TokenKind

_DEFAULT_NAME: Final = "gateway"
capture_port_option = click.option(
    "--capture-port",
    type=click.IntRange(1, 65535),
    default=15001,
    show_default=True,
    help="Where redirected calls arrive.",
)


@click.command("rules")
@click.option("--name", default=_DEFAULT_NAME, show_default=True, help="The gateway's name.")
@click.option(
    "--vip-range", "vip_ranges", multiple=True, metavar="CIDR", help="What to redirect; repeatable."
)
@capture_port_option
@click.option("--remove", is_flag=True, help="Print what takes the rules away instead.")
def rules(name: str, vip_ranges: tuple[str, ...], capture_port: int, remove: bool) -> None:
    """Print the rules that `gateways run --capture redirect` loads, for `nft -f -`.

    For a gateway that may not do it itself: an administrator loads them, and the gateway is run with
    --rules-in-place.
    """
    from clusters.model import VipRange
    from clusters.names import label
    from gateway.rules import removal, ruleset

    label("gateway", name)
    if remove:
        click.echo(removal(name), nl=False)
    elif vip_ranges:
        click.echo(ruleset(name, [VipRange(cidr) for cidr in vip_ranges], capture_port), nl=False)
    else:
        raise click.UsageError("what is to be redirected? say --vip-range CIDR")


@click.command("run")
@click.argument("arguments", nargs=-1, metavar="")
@click.option("--name", help="Its name in this cluster. [default: gateway, or as enrolled]")
@click.option(
    "--role",
    type=click.Choice(["ingress", "egress", "both"]),
    help="Let other clusters' calls in, this cluster's out, or both. [default: both, or as enrolled]",
)
@click.option(
    "--agent",
    envvar="FEDGATE_AGENT",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The agent's state folder or ADS socket, on this machine.",
)
@click.option("--enrol", is_flag=True, help="Enrol with a token, at an agent on another machine.")
@click.option("--token-file", type=FILE, help="Read the enrolment token from here instead of stdin.")
@click.option(
    "--capture",
    type=click.Choice(["anyip", "redirect", "loopback"]),
    default="anyip",
    show_default=True,
    help="How calls come: the VIP range is local here, redirected by nftables, or each VIP is a 127.x.",
)
@capture_port_option
@click.option(
    "--rules-in-place", is_flag=True, help="An administrator has loaded what `gateways rules` prints."
)
@click.option(
    "--listen", multiple=True, metavar="IP", help="Where the ingress listens; repeatable. [default: all]"
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=15008, show_default=True, help="The ingress's port."
)
@click.option(
    "--vip-range",
    "vip_ranges",
    multiple=True,
    metavar="CIDR",
    help="The VIP ranges that lead to this gateway, of several; repeatable. [default: all]",
)
@click.option(
    "--access-log", type=click.Path(dir_okay=False, path_type=Path), help="Log calls that come in, as JSON."
)
@click.option(
    "--concurrency", type=click.IntRange(min=1), help="Envoy's threads. [default: one for each core]"
)
@click.option(
    "--drain-timeout",
    type=Duration(),
    default="30s",
    show_default=True,
    help="Let open connections end for so long before stopping.",
)
@click.option(
    "--memory-limit",
    type=Size(),
    metavar="SIZE",
    help="What Envoy may take before it refuses new calls, as 512M. [default: 3/4 of what there is]",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1, 1_000_000),
    help="How many connections it takes at a time. [default: 50000, or a third of the open files allowed]",
)
@click.option("--state", type=STATE, help="Where its files are.")
@log_level_option
def run(
    arguments: tuple[str, ...],
    name: str | None,
    role: str | None,
    agent: Path | None,
    enrol: bool,
    token_file: Path | None,
    capture: str,
    capture_port: int,
    rules_in_place: bool,
    listen: tuple[str, ...],
    port: int,
    vip_ranges: tuple[str, ...],
    access_log: Path | None,
    concurrency: int | None,
    drain_timeout: timedelta,
    memory_limit: int | None,
    max_connections: int | None,
    state: Path | None,
) -> None:
    """Run one gateway until it is told to stop; then drain it.

    On the agent's own machine it needs nothing more. On another one it enrols first, with a token
    from `fedgate gateways token NAME`; after that, --name or --state is enough to run it again.
    """
    if enrol and click.get_current_context().get_parameter_source("agent") is ParameterSource.ENVIRONMENT:
        agent = None
    if enrol and agent:
        raise click.UsageError("--enrol is for an agent on another machine, --agent for one on this")
    if capture == "redirect" and role != "ingress" and not vip_ranges:
        raise click.UsageError("--capture redirect wants to know what to redirect: say --vip-range CIDR")
    line = read_token(TokenKind.GATEWAY, arguments, token_file) if enrol or arguments else None
    from federation.gateway_process import Asked, Behaviour, run_gateway
    from gateway.spec import Capture

    run_gateway(
        Asked(name, role, state, agent, line),
        Behaviour(
            Capture(capture),
            listen,
            port,
            access_log,
            concurrency,
            drain_timeout.total_seconds(),
            vip_ranges,
            capture_port,
            rules_in_place,
            memory_limit,
            max_connections,
        ),
    )
