"""What several commands share: the options that say where, how long and in which form.

`admin_options` adds `--hub` or `--agent` and what belongs to them; the command then calls `hub()`,
`agent()` or `either()` for the admin API that was meant.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

from clusters.durations import parse_duration
from clusters.errors import ClusterError
from federation import paths
from federation.client import Admin, endpoint
from federation.errors import NobodyHere
from federation.output import Format, Output

F = TypeVar("F", bound=Callable[..., object])
_META = "fedgate.where"

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
STATE = click.Path(file_okay=False, path_type=Path)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Side(StrEnum):
    """The two that have an admin API."""

    HUB = "hub"
    AGENT = "agent"


class Duration(click.ParamType[timedelta]):
    """A span of time, as in `90s` or `15m`."""

    name = "duration"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse the option's text."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ClusterError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """So many bytes, written as `512M` or `2G`: powers of 1024."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None = None, ctx: click.Context | None = None
    ) -> int:
        """Parse what was given."""
        if isinstance(value, int):
            return value
        number, unit = str(value)[:-1], str(value)[-1:].upper()
        if unit not in _UNITS or not number.isascii() or not number.isdigit() or not int(number):
            self.fail(f"{value!r} is no size; want a whole number of K, M or G: 512M", param, ctx)
        return int(number) * _UNITS[unit]


class DefaultGroup(click.Group):
    """A group that means one of its commands when none is named: `clusters` is `clusters list`."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default in front of options that belong to it."""
        if not ctx.resilient_parsing and not (args and (args[0] in ("-h", "--help") or args[0][0:1] != "-")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say which command is meant without one."""
        formatter.write_paragraph()
        formatter.write_text(f"Without a command: {self.default}.")


def quiet_option(command: F) -> F:
    """`-q`, which becomes the argument *quiet*."""
    return click.option("-q", "--quiet", is_flag=True, help="Print the bare token, for scripts.")(command)


def output_option(command: F) -> F:
    """`-o`, which becomes the argument *output*."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice([form.value for form in Format]),
        default=Format.TABLE.value,
        show_default=True,
        callback=lambda _ctx, _param, value: Output.detect(Format(value)),
        help="How to print.",
    )(command)


def admin_options(*sides: Side, timeout: str = "10s") -> Callable[[F], F]:
    """`--hub` and `--agent` as far as they apply, `--timeout`, and what a hub on another machine needs."""

    def add(command: F) -> F:
        command = _timeout(timeout)(command)
        if Side.AGENT in sides:
            command = _agent(command)
        if Side.HUB in sides:
            command = _hub(_admin_token_file(_ca_file(command)))
        return command

    return add


def hub(wait: timedelta = timedelta()) -> Admin:
    """The hub that was named, or this machine's; *wait* is what its answer may take longer than others."""
    return _admin(Side.HUB, wait)


def agent() -> Admin:
    """The agent that was named, or this machine's."""
    return _admin(Side.AGENT)


def named_or_here() -> list[Admin]:
    """The admin APIs that were named; when none was, those that have a socket on this machine."""
    if named := _named():
        return [_admin(side) for side in named]
    return [_admin(side) for side in Side if _socket(side).exists()]


def either(preferred: Side) -> Admin:
    """The one of hub and agent that was named, or that is here; *preferred* when both are."""
    found = named_or_here()
    if not found:
        raise NobodyHere
    return next((admin for admin in found if admin.where.who == preferred), found[0])


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> object:
    """Put an option where `hub()` and its like find it; it is no argument of the command."""
    ctx.meta[f"{_META}.{param.name}"] = value
    return value


def _timeout(default: str) -> Callable[[F], F]:
    return click.option(
        "--timeout",
        type=Duration(),
        default=default,
        show_default=True,
        expose_value=False,
        callback=_keep,
        help="Give up on an answer after this.",
    )


_agent = click.option(
    "--agent",
    envvar="FEDGATE_AGENT",
    metavar="PATH",
    expose_value=False,
    callback=_keep,
    help="The agent's socket or state folder.",
)
_hub = click.option(
    "--hub",
    envvar="FEDGATE_HUB",
    metavar="PATH|URL",
    expose_value=False,
    callback=_keep,
    help="The hub's socket, state folder or URL.",
)
_admin_token_file = click.option(
    "--admin-token-file",
    envvar="FEDGATE_ADMIN_TOKEN_FILE",
    type=FILE,
    expose_value=False,
    callback=_keep,
    help="The bearer token for an https hub.",
)
_ca_file = click.option(
    "--ca-file",
    envvar="FEDGATE_CA_FILE",
    type=FILE,
    expose_value=False,
    callback=_keep,
    help="The federation's root, PEM, to check an https hub by.",
)


def _value(name: str) -> object:
    return click.get_current_context().meta.get(f"{_META}.{name}")


def _named() -> list[Side]:
    """The sides named by an option, else those named by the environment."""
    context = click.get_current_context()
    for source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        named = [side for side in Side if _value(side) and context.get_parameter_source(side) is source]
        if named:
            return named
    return []


def _socket(side: Side) -> Path:
    return paths.admin_socket(paths.hub_state() if side is Side.HUB else paths.agent_state())


def _admin(side: Side, wait: timedelta = timedelta()) -> Admin:
    timeout, named = _value("timeout"), _value(side)
    token_file, ca_file = _value("admin_token_file"), _value("ca_file")
    where = endpoint(
        side,
        named if isinstance(named, str) else str(_socket(side)),
        token_file if isinstance(token_file, Path) else None,
        ca_file if isinstance(ca_file, Path) else None,
    )
    patience = wait + (timeout if isinstance(timeout, timedelta) else timedelta(seconds=10))
    return Admin(where, patience.total_seconds())
