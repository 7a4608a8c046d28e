"""`fedgate gateways run`: run one gateway, a real Envoy, for this cluster's agent."""

from datetime import timedelta
from pathlib import Path

import click

from federation import paths
from federation.commands.options import FILE, STATE, Duration
from federation.commands.running import log_level_option
from federation.commands.secret_input import read_token
from pki.tokens import TokenKind

DEFAULT_LISTEN = ("0.0.0.0", "::")  # noqa: S104 (its peers are elsewhere)


@click.command("run")
@click.argument("arguments", nargs=-1, metavar="")
@click.option("--name", default="gateway", show_default=True, help="Its name in this cluster.")
@click.option(
    "--role",
    type=click.Choice(["ingress", "egress", "both"]),
    default="both",
    show_default=True,
    help="Take calls from other clusters in, let this cluster's calls out, or both.",
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
    type=click.Choice(["anyip", "loopback"]),
    default="anyip",
    show_default=True,
    help="How calls come: the VIP range routed to this network namespace, or each VIP a 127.x.",
)
@click.option(
    "--listen", multiple=True, metavar="IP", help="Where the ingress listens; repeatable. [default: all]"
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=15008, show_default=True, help="The ingress's port."
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
@click.option("--state", type=STATE, help="Where its files are.")
@log_level_option
def run(
    arguments: tuple[str, ...],
    name: str,
    role: str,
    agent: Path | None,
    enrol: bool,
    token_file: Path | None,
    capture: str,
    listen: tuple[str, ...],
    port: int,
    access_log: Path | None,
    concurrency: int | None,
    drain_timeout: timedelta,
    state: Path | None,
) -> None:
    """Run one gateway until it is told to stop; then drain it.

    A gateway on the agent's own machine needs no more than --name and --role. On another machine it
    enrols: `fedgate gateways token NAME` makes the token.
    """
    from gateway.bootstrap import UnixAgent
    from gateway.proxy import ProxySettings
    from gateway.proxy import run as run_proxy
    from gateway.spec import Capture, GatewaySpec, Role

    if arguments or enrol:
        read_token(TokenKind.GATEWAY, arguments, token_file)
    spec = GatewaySpec(
        name=name,
        roles=frozenset(Role) if role == "both" else frozenset({Role(role)}),
        capture=Capture(capture),
        ingress_addresses=listen or DEFAULT_LISTEN,
        ingress_port=port,
        access_log=str(access_log.absolute()) if access_log else None,
    )
    folder = (state or paths.gateway_state(name)).absolute()
    run_proxy(
        ProxySettings(
            spec, UnixAgent(_local_agent(agent)), folder, concurrency, drain_timeout.total_seconds()
        )
    )


def _local_agent(named: Path | None) -> Path:
    """The ADS socket of the agent *named* by its state folder or one of its sockets, or of this machine's."""
    if named is None:
        return paths.ads_socket(paths.agent_state()).absolute()
    if named.suffix != ".sock":
        return paths.ads_socket(named).absolute()
    if named.name == paths.ADMIN_SOCKET:
        return named.with_name(paths.ADS_SOCKET).absolute()
    return named.absolute()
