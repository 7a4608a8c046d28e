"""`fedgate completion`: the script that completes commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

from federation.cli import COMPLETE_VARIABLE

_LINES = {
    "bash": "source <(fedgate completion bash)   # in ~/.bashrc",
    "zsh": "source <(fedgate completion zsh)   # in ~/.zshrc, after compinit",
    "fish": "fedgate completion fish > ~/.config/fish/completions/fedgate.fish",
}


@click.command(epilog="\b\n" + "\n".join(_LINES.values()))
@click.argument("shell", type=click.Choice(list(_LINES)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in your shell."""
    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"no completion for {shell}", ctx)
    click.echo(completer(ctx.find_root().command, {}, "fedgate", COMPLETE_VARIABLE).source())
