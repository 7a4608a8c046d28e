"""Reading a token without showing it to anybody: stdin, a file or the environment, never an argument."""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from pki.errors import PkiError
from pki.tokens import TokenKind, parse_token

VARIABLE = "FEDGATE_TOKEN"
_LONGEST = 1 << 16
_TOKEN = re.compile(r"fg[a-z]\d+\.[\w-]+")
# What the command that makes a token prints: somebody may have kept that, and not pasted it.
_TO_PASTE = re.compile(r"echo (\S+) \| fedgate .*")
# A token's expiry does not matter to who only wants its id.
_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)


def read_token(kind: TokenKind, arguments: tuple[str, ...], file: Path | None) -> str:
    """Get the token, or the line to paste, from *file*, `FEDGATE_TOKEN` or stdin, in this order."""
    text = _given(kind, arguments, file)
    pasted = _TO_PASTE.fullmatch(text.strip())
    return pasted[1] if pasted else text


def _given(kind: TokenKind, arguments: tuple[str, ...], file: Path | None) -> str:
    if arguments:
        raise _refused(kind, arguments)
    # Taken out of the environment, so that no program that we start inherits it.
    in_environment = os.environ.pop(VARIABLE, "")
    if file is not None:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_LONGEST)
    return in_environment or _from_stdin(kind, sys.stdin)


def _refused(kind: TokenKind, arguments: tuple[str, ...]) -> click.UsageError:
    """Refuse *arguments*; if a token is among them, it has been seen by whoever looked."""
    context = click.get_current_context()
    shown = next((found for a in arguments if (found := _TOKEN.search(a))), None)
    if shown is None:
        return click.UsageError(
            f"unexpected argument {arguments[0]!r}; a token comes on stdin, by --token-file or {VARIABLE}",
            context,
        )
    revoke = "let it expire unused"
    if kind is TokenKind.JOIN:
        revoke = f"revoke it with `fedgate token revoke {id_of(shown[0]) or 'ID'}`"
    return click.UsageError(
        "a token among the arguments can be read by everybody on this machine, and stays in the shell's "
        f"history: {revoke}, make a new one, and pipe it into `{kind.used_by}`",
        context,
    )


def id_of(text: str) -> str | None:
    """The id of the token *text*, which is no secret; None if it cannot be read."""
    try:
        return parse_token(text, TokenKind.JOIN, _BEGINNING_OF_TIME).id
    except PkiError:
        return None


def _from_stdin(kind: TokenKind, stdin: TextIO) -> str:
    if stdin.isatty():
        asked: str = click.prompt(f"Paste the {kind.noun} token", hide_input=True, err=True)
        return asked
    line = stdin.read(_LONGEST)
    if not line.strip():
        raise click.UsageError(
            f"no token: pipe it in, or use --token-file or {VARIABLE}; `{kind.command}` makes one",
            click.get_current_context(),
        )
    return line
