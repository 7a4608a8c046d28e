"""The stream between hub and agent, and what is asked beside it."""

from federation.errors.base import Exit, FederationError, Refusal


class SyncRefused(Refusal):
    """The other end of a sync stream, or our check of it, said no; `code` says why."""


class Superseded(SyncRefused):
    """A connection of an agent that has another one since, to this hub or to another."""

    def __init__(self) -> None:
        super().__init__("superseded", "another connection of this agent has taken over")


class IssuanceDenied(Refusal):
    """The hub does not issue what it was asked for; `code` says why."""


class HubAway(FederationError):
    """No hub could be asked; what is due is asked for again."""

    code = "hub-unreachable"
    exit_code = Exit.UNREACHABLE
    hint = "it is tried again until the hub answers"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the hub could not be asked: {reason}")
        self.reason = reason


class ChangesRejected(FederationError):
    """What a peer published and may not, or that makes no sense: none of it was applied."""

    code = "changes-rejected"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
