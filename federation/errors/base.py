"""What all errors of `federation` have in common."""

from enum import IntEnum


class Exit(IntEnum):
    """What the command's exit status tells a script."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    CONFLICT = 7


class FederationError(Exception):
    """Base of this package's errors.

    `code` names the kind of error to programs, `hint` says what to do when we know, and
    `exit_code` is what the command ends with.
    """

    code = "failed"
    hint = ""
    exit_code = Exit.CHECK_FAILED


class Refusal(FederationError):
    """Somebody said no; `code` says why."""

    exit_code = Exit.FORBIDDEN

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint
