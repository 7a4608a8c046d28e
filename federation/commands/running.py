"""What the long-running commands share: how much they log, and how an agent is told what to do."""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import reduce, wraps
from pathlib import Path
from typing import TypeVar

import click

from federation import log, paths
from federation.commands.options import FILE, STATE, Duration
from federation.settings import DEFAULT_DNS_LISTEN, AgentSettings

F = TypeVar("F", bound=Callable[..., object])


def _start_log(_ctx: click.Context, _param: click.Parameter, level: str) -> None:
    log.configure(level.upper())
    # gRPC writes to stderr itself what we say in our own words; it reads this at its import.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def log_level_option(command: F) -> F:
    """`--log-level`, in force before the command begins."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        envvar="FEDGATE_LOG_LEVEL",
        expose_value=False,
        callback=_start_log,
        help="What to log, on stderr.",
    )(command)


def agent_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of whatever runs an agent; *command* is given them as `settings`."""

    @wraps(command)
    def with_settings(
        *,
        state: Path | None,
        source: Path | None,
        dns_listen: tuple[str, ...],
        dns_forward: tuple[str, ...],
        vip_ranges: tuple[str, ...],
        ads_listen: str | None,
        enrol_listen: str | None,
        workload_socket: Path | None,
        passphrase_file: Path | None,
        svid_lifetime: timedelta,
        hold_withdrawals: timedelta,
        **others: object,
    ) -> None:
        from federation.passphrases import given

        settings = AgentSettings(
            state=state or paths.agent_state(),
            source=source,
            dns_listen=dns_listen or DEFAULT_DNS_LISTEN,
            dns_forward=dns_forward,
            vip_ranges=vip_ranges,
            ads_listen=ads_listen,
            enrol_listen=enrol_listen,
            workload_socket=workload_socket,
            passphrase=given(passphrase_file),
            svid_lifetime=svid_lifetime,
            hold_withdrawals=hold_withdrawals,
        )
        command(settings=settings, **others)

    options = [
        log_level_option,
        click.option(
            "--passphrase-file", type=FILE, help="Seals the keys of the issuing CA and of JWT-SVIDs."
        ),
        click.option(
            "--workload-socket",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="PATH",
            help="Serve the SPIFFE Workload API here, to all users. [default: in the state folder]",
        ),
        click.option(
            "--svid-lifetime",
            type=Duration(),
            default="1h",
            show_default=True,
            help="How long the certificates of workloads and gateways are good; renewed at half of it.",
        ),
        click.option(
            "--hold-withdrawals",
            type=Duration(),
            default="1h",
            show_default=True,
            help="Doubt it for so long when most services are gone from the source after a start.",
        ),
        click.option("--enrol-listen", metavar="ADDRESS", help="Let gateways on other machines enrol here."),
        click.option("--ads-listen", metavar="ADDRESS", help="Serve enrolled gateways here."),
        click.option(
            "--vip-range",
            "vip_ranges",
            multiple=True,
            metavar="CIDR",
            help="Instead of the federation's; repeatable.",
        ),
        click.option(
            "--dns-forward",
            multiple=True,
            metavar="ADDRESS",
            help="A name server for all other names; repeatable. Without one they are refused.",
        ),
        click.option(
            "--dns-listen",
            multiple=True,
            metavar="ADDRESS",
            help=f"Answer DNS here; repeatable. [default: {', '.join(DEFAULT_DNS_LISTEN)}]",
        ),
        click.option(
            "--source",
            type=FILE,
            envvar="FEDGATE_SOURCE",
            help="The YAML file that says what this cluster offers.",
        ),
        click.option("--state", type=STATE, help="Where the agent's keys and last view are."),
    ]
    return reduce(lambda wrapped, option: option(wrapped), options, with_settings)
