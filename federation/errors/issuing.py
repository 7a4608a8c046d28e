"""Identities that are asked for, and not given."""

from collections.abc import Sequence

from clusters.attestation import Process
from federation.errors.base import Exit, FederationError, Refusal


class NoIdentity(FederationError):
    """A process that asks for an SVID and is no workload, or one for which none can be made (*workloads*)."""

    code = "no-identity"
    exit_code = Exit.FORBIDDEN

    def __init__(self, process: Process, workloads: Sequence[str] = ()) -> None:
        who = f"process {process.pid} of user {process.uid}"
        none = f"there is no certificate for {', '.join(workloads)}"
        super().__init__(f"{who}: {none if workloads else 'no workload is known by it'}")
        self.process = process
        self.workloads = tuple(workloads)


class RequestRefused(FederationError):
    """A workload that asks for something that makes no sense."""

    code = "bad-request"
    exit_code = Exit.USAGE

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"request for a {what}: {reason}")
        self.what = what
        self.reason = reason


class JwtKeyMissing(FederationError):
    """No JWT-SVID can be signed now: the first key is being made, or could not be kept."""

    code = "no-jwt-key"

    def __init__(self) -> None:
        super().__init__("there is no key yet to sign JWT-SVIDs with; try again")


class IssuanceRefused(Refusal):
    """SVIDs that were asked for and are not given; `code` says why."""


class WorkerLost(FederationError):
    """A signing process that ended before it had answered."""

    code = "worker-lost"
    hint = "ask again: another one is started"
    exit_code = Exit.UNREACHABLE

    def __init__(self, pid: int) -> None:
        super().__init__(f"the signing process {pid} has ended")
        self.pid = pid
