"""The `fedgate` command: which commands there are, and how each of them ends.

A command's module is loaded only when that command is asked for, so that help and completion
start at once; the one-line summaries are therefore kept here, beside the names.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click
from click.shell_completion import shell_complete

from federation.errors import Exit
from federation.failure import describe, interrupted

# name: (module in federation.commands, summary), in the order in which help shows them
SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Start": {
        "demo": ("demo", "Watch two clusters call each other, on this machine."),
        "hub": ("hub", "Run the hub: the control plane that all clusters share."),
        "token": ("token", "Make, list and revoke join tokens."),
        "join": ("join", "Join this cluster to a clusterset, and run its agent."),
        "agent": ("agent", "Run the agent of a cluster that has joined."),
        "gateways": ("gateways", "Run gateways; see them and whether they are in sync."),
        "trust": ("trust", "Believe trust domains outside of the federation."),
        "leave": ("leave", "Take this cluster out of the clusterset."),
    },
    "Look": {
        "status": ("status", "Show how this cluster's agent is doing."),
        "clusters": ("clusters", "Show the clusters of the set."),
        "hubs": ("hubs", "Show the hubs that run, and which of them is elected."),
        "grant": ("grant", "Say who may export what to whom."),
        "services": ("services", "Show the services of the set, and who offers them."),
        "resolve": ("resolve", "Explain what DNS answers for a name, and why."),
        "ca": ("ca", "Show the hub's authorities, and let one root take over from another."),
        "certs": ("certs", "Show the certificates that the agent or the hub holds."),
        "seal": ("seal", "Seal the keys in a state folder with another passphrase."),
        "rotate": ("rotate", "Renew the certificates that are due at the hub or agent here."),
        "audit": ("audit", "Show the audit record of the hub or the agent, and verify it."),
        "check": ("check", "Check that everything is as it should be."),
    },
    "Keep": {
        "backup": ("backup", "Put all that a hub needs to go on into one file."),
        "restore": ("restore", "Put a backup back, for a hub to go on from there."),
        "store": ("store", "Move the registry from one store to another."),
    },
    "Shell": {
        "completion": ("completion", "Print the script that completes commands in your shell."),
    },
}
_ALIASES = {
    "cluster": "clusters",
    "service": "services",
    "svc": "services",
    "gateway": "gateways",
    "gw": "gateways",
    "tokens": "token",
    "cert": "certs",
    "grants": "grant",
}
COMPLETE_VARIABLE = "_FEDGATE_COMPLETE"
_BROKEN_PIPE = 128 + 13
_COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for, and lists them without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands, in the order of the sections."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; its object has the command's name."""
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        module = import_module(f"federation.commands.{_COMMANDS[name][0]}")
        command = getattr(module, name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and name what comes close for a command that does not exist."""
        name = args[0]
        if name not in _COMMANDS and name not in _ALIASES and not name.startswith("-"):
            raise click.NoSuchCommand(name, possibilities=_COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, without importing one."""
        width = max(map(len, _COMMANDS))
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), summary) for name, (_, summary) in entries.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with `fedgate demo`, or with `fedgate hub` on one machine and `fedgate join` on another.",
)
@click.version_option(package_name="fedgate", message="fedgate %(version)s")
def fedgate() -> None:
    """Call a service by name in whichever cluster it runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* and say how it ended, as an exit status."""
    try:
        if instruction := os.environ.get(COMPLETE_VARIABLE):
            return shell_complete(fedgate, {}, "fedgate", COMPLETE_VARIABLE, instruction)
        # Not by `fedgate.main`, which answers Ctrl-C and a closed pipe in its own way.
        with fedgate.make_context("fedgate", list(sys.argv[1:] if argv is None else argv)) as context:
            result = fedgate.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        return interrupted()
    except BrokenPipeError:
        # Whoever read us has read enough. Python would complain of it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        failure = describe(error)
        if failure is None:
            raise
        click.echo(failure.text(), err=True)
        return failure.exit_code
    return result if isinstance(result, int) else Exit.OK
