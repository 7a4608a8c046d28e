"""How a command that failed ends: one line that says what and why, one that says what next, one exit code."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from federation.errors import Exit

# Tokens are secrets: click quotes what it did not understand, and somebody will paste one there.
_TOKEN = re.compile(r"\b(fg[a-z]1\.)\S+")

_JOIN_EXITS = {
    "unreachable": Exit.UNREACHABLE,
    "timed-out": Exit.TIMED_OUT,
    "cluster-exists": Exit.CONFLICT,
    "state-exists": Exit.CONFLICT,
}
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a command that failed."""

    message: str
    hint: str
    exit_code: int

    def text(self) -> str:
        """What stderr gets: no tokens, no control characters, a line each."""
        lines = [f"error: {_clean(self.message)}"]
        if self.hint:
            lines.append(f"hint: {_clean(self.hint)}")
        return "\n".join(lines)


def describe(error: Exception) -> Failure | None:
    """Say how *error* is shown, or None for one that only a bug can raise."""
    if isinstance(error, (click.NoSuchCommand, click.NoSuchOption)) and error.possibilities:
        close = ", ".join(sorted(error.possibilities))
        return Failure(error.message, f"did you mean {close}?", Exit.USAGE)
    if isinstance(error, click.UsageError):
        return Failure(error.format_message(), _usage_hint(error), Exit.USAGE)
    if isinstance(error, click.ClickException):
        return Failure(error.format_message(), "", error.exit_code)
    if isinstance(error, ExceptionGroup):
        return _of_group(error)
    if (ours := _of_ours(error)) is not None:
        return ours
    if isinstance(error, PermissionError):
        return Failure(_os_message(error), "run this as a user who may", Exit.FORBIDDEN)
    if isinstance(error, TimeoutError):
        return Failure(str(error) or "timed out", "wait longer with --timeout", Exit.TIMED_OUT)
    if isinstance(error, OSError):
        return Failure(_os_message(error), "", Exit.CHECK_FAILED)
    return None


def interrupted() -> int:
    """End after Ctrl-C in silence; a terminal shows `^C`, and gets its line ended."""
    if sys.stderr.isatty():
        click.echo(err=True)
    return _INTERRUPTED


def _of_ours(error: Exception) -> Failure | None:
    """The errors of our packages carry their own hint; federation's carry an exit code too."""
    # Each base is imported only here, where something has already gone wrong.
    from clusters.errors import ClusterError, InvalidName, InvalidValue, JoinRefused
    from federation.errors import FederationError
    from gateway.errors import GatewayError
    from pki.errors import PkiError

    if isinstance(error, FederationError):
        return Failure(str(error), error.hint, error.exit_code)
    if isinstance(error, JoinRefused):
        return Failure(error.reason, error.hint, _JOIN_EXITS.get(error.code, Exit.FORBIDDEN))
    if isinstance(error, (InvalidName, InvalidValue)):
        return Failure(str(error), error.hint, Exit.USAGE)
    if isinstance(error, (ClusterError, PkiError, GatewayError)):
        return Failure(str(error), error.hint, Exit.CHECK_FAILED)
    return None


def _of_group(group: ExceptionGroup[Exception]) -> Failure | None:
    """A task group's failure is that of the first of its tasks, if every one is foreseen."""
    failures = [describe(error) for error in _leaves(group)]
    return failures[0] if all(failures) else None


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _usage_hint(error: click.UsageError) -> str:
    return f"{error.ctx.command_path} --help" if error.ctx else "fedgate --help"


def _os_message(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _clean(text: str) -> str:
    without_tokens = _TOKEN.sub(r"\1…", text)
    return "".join(c if c.isprintable() else " " for c in without_tokens)
