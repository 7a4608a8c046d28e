"""Commands that ask the admin API."""

from collections.abc import Iterable
from typing import Final

from federation.errors.base import Exit, FederationError


class AdminUnreachable(FederationError):
    """No hub or agent answers where one was looked for."""

    code = "unreachable"
    exit_code = Exit.UNREACHABLE

    def __init__(self, who: str, where: str, reason: str) -> None:
        super().__init__(f"no {who} answers at {where}: {reason}")
        self.who = who
        self.where = where
        self.hint = f"start it with `fedgate {who}`, or say where it is with --{who} or FEDGATE_{who.upper()}"


class AdminTimedOut(FederationError):
    """A hub or agent that did not answer in time."""

    code = "timed-out"
    exit_code = Exit.TIMED_OUT
    hint = "look at its log, or wait longer with --timeout"

    def __init__(self, who: str, where: str, seconds: float) -> None:
        super().__init__(f"the {who} at {where} did not answer within {seconds:g} s")
        self.who = who
        self.where = where


class NobodyHere(FederationError):
    """Neither a hub nor an agent runs on this machine, and none was named."""

    code = "unreachable"
    exit_code = Exit.UNREACHABLE
    hint = "run this where one is, as the user who runs it, or name one with --hub or --agent"

    def __init__(self) -> None:
        super().__init__("neither a hub nor an agent runs here")


class NotAdmitted(FederationError):
    """An admin socket that belongs to somebody else."""

    code = "not-admitted"
    exit_code = Exit.FORBIDDEN

    def __init__(self, who: str, where: str) -> None:
        super().__init__(f"not allowed to use the {who}'s admin socket {where}")
        self.who = who
        self.where = where
        self.hint = f"run this as the user who runs the {who}"


_EXIT_BY_STATUS: Final = {
    400: Exit.USAGE,
    401: Exit.FORBIDDEN,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    408: Exit.TIMED_OUT,
    409: Exit.CONFLICT,
    410: Exit.NOT_FOUND,
    422: Exit.USAGE,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.TIMED_OUT,
}


class AdminRefused(FederationError):
    """The admin API said no; `code` is for programs, the message for people."""

    def __init__(self, who: str, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message or f"the {who} answered {status}")
        self.who = who
        self.status = status
        self.code = code
        self.hint = hint
        self.exit_code = _EXIT_BY_STATUS.get(status, Exit.CHECK_FAILED)


class BadAnswer(FederationError):
    """An answer of the admin API without what the contract says is in it."""

    code = "bad-answer"
    hint = "are the command and what it asked of the same version?"

    def __init__(self, key: str) -> None:
        super().__init__(f"the answer has no {key!r}")
        self.key = key


class NotFound(FederationError):
    """What a command was asked about is not there; *known* is what is."""

    code = "not-found"
    exit_code = Exit.NOT_FOUND

    def __init__(self, kind: str, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(f"no {kind} named {name!r}")
        self.kind = kind
        self.name = name
        self.hint = _did_you_mean(name, sorted(known))


class WaitedInVain(FederationError):
    """What a command waited for did not come about in time."""

    code = "timed-out"
    exit_code = Exit.TIMED_OUT

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what}, after {seconds:g} s of waiting")
        self.what = what


def _did_you_mean(name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # only a mistake pays for it

    close = get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"there are: {', '.join(known[:10])}{', …' if len(known) > 10 else ''}" if known else ""
