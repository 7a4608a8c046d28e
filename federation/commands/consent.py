"""Asking before something is done that cannot be taken back by the next command."""

import sys

import click


def ask(question: str, otherwise: str) -> None:
    """Ask a person *question*, and end if the answer is no.

    A script has nobody to ask: it is told what would happen, *otherwise*, and has to say --yes.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"{otherwise}; say --yes", click.get_current_context())
    click.confirm(question, abort=True, err=True)
