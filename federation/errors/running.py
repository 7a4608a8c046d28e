"""Starting and running a hub or an agent."""

from pathlib import Path

from federation.errors.base import Exit, FederationError


class WrongFederation(FederationError):
    """A state directory that belongs to another federation."""

    code = "wrong-federation"
    exit_code = Exit.CONFLICT
    hint = "start with the domain that it was made for, or with another --state"

    def __init__(self, state: str, domain: str) -> None:
        super().__init__(f"{state} holds the authorities of another federation than {domain}")
        self.state = state
        self.domain = domain


class WebCertificateUnusable(FederationError):
    """A certificate for the bundle endpoint that cannot be shown."""

    code = "certificate-unusable"
    exit_code = Exit.USAGE
    hint = "--bundle-cert wants a PEM chain, its own certificate first, and --bundle-key its unencrypted key"

    def __init__(self, certificate: Path, key: Path, reason: str) -> None:
        super().__init__(f"{certificate} with {key} cannot be used: {reason}")
        self.certificate = certificate
        self.key = key
        self.reason = reason


class HandoverFailed(FederationError):
    """One agent could not take over from another, which goes on as before."""

    code = "handover-failed"
    exit_code = Exit.CONFLICT
    hint = "stop the agent that runs, and start this one without --take-over"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the agent that runs was not taken over: {reason}")
        self.reason = reason


class AuditBroken(FederationError):
    """An audit record that is not as it was written; *line* of *file* is the first bad one."""

    code = "audit-broken"
    hint = "compare it with a backup; to begin a new record, move these files elsewhere"

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"the audit record is broken at line {line} of {file}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class PassphraseUnclear(FederationError):
    """A passphrase that is empty, or two that differ. Says where they come from, and never what they are."""

    code = "passphrase-unclear"
    exit_code = Exit.USAGE
    hint = (
        "give one: by --passphrase-file, FEDGATE_PASSPHRASE_FILE, FEDGATE_PASSPHRASE or a systemd credential"
    )

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SecretsExposed(FederationError):
    """A state folder whose secrets others could use; the hint is the command to run."""

    code = "secrets-exposed"
    exit_code = Exit.FORBIDDEN

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"secrets that are not secret: {reason}")
        self.reason = reason
        self.hint = hint


class AuditBusy(FederationError):
    """An audit record that another process writes."""

    code = "audit-busy"
    exit_code = Exit.CONFLICT

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is being written by another process")


class NotJoined(FederationError):
    """An agent without an identity."""

    code = "not-joined"
    exit_code = Exit.NOT_FOUND
    hint = "make a token with `fedgate token create CLUSTER` at the hub, and give it to `fedgate join`"

    def __init__(self, state: str) -> None:
        super().__init__(f"{state} holds no cluster's identity: this cluster has not joined")
        self.state = state


class CannotListen(FederationError):
    """An address that we were told to serve on and cannot have."""

    code = "cannot-listen"

    def __init__(self, what: str, address: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{what} cannot listen on {address}: {reason}")
        self.what = what
        self.address = address
        self.reason = reason
        self.hint = hint
