"""Everything that can go wrong in ``pki``.

PkiError
├── InvalidSpiffeId         a name that is not a valid SPIFFE ID
├── InvalidTrustDomain      a domain that certificates cannot be bound to
├── UnusableLifetime        a validity that no certificate can have, or that its issuer has no room for
├── CannotIssue             a certificate that its issuer's own certificate does not allow
├── CertificateRefused      a chain that does not lead to whom we trust, or says too much
├── CsrRefused              a signing request that proves nothing, or asks for a weak key
├── JwtRefused              a JWT-SVID that proves nothing
├── BundleRefused           a SPIFFE bundle that cannot be used
├── KeystoreError           keys at rest
│   ├── KeyExposed          a secret file that others may read
│   ├── StateBusy           a state directory that another process is using
│   └── CannotUnseal        a sealed secret and a passphrase that do not belong together
└── TokenError              a one-time token that cannot be used
    ├── NotAToken           something else was pasted
    ├── TokenCut            its end is missing
    ├── TokenAltered        some of it changed on the way
    ├── OtherTokenKind      a token, but for another command
    └── TokenExpired        it was good once
"""

from datetime import datetime, timedelta
from pathlib import Path


class PkiError(Exception):
    """Base of this package's errors; `hint` says what to do, when we know."""

    hint = ""


class InvalidSpiffeId(PkiError):
    """A name that the SPIFFE ID specification does not allow."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"SPIFFE ID {text!r}: {reason}")
        self.text = text
        self.reason = reason


class InvalidTrustDomain(PkiError):
    """A domain that certificates cannot be bound to."""

    hint = "use a lower-case DNS name of your own, such as fed.example"

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"trust domain {text!r}: {reason}")
        self.text = text
        self.reason = reason


class UnusableLifetime(PkiError):
    """A lifetime that no certificate of its kind can have."""

    def __init__(self, kind: str, span: timedelta, reason: str) -> None:
        super().__init__(f"a lifetime of {span} for the {kind}: {reason}")
        self.kind = kind
        self.span = span
        self.reason = reason


class CannotIssue(PkiError):
    """A certificate that nobody would accept from this issuer."""

    def __init__(self, issuer: str, reason: str) -> None:
        super().__init__(f"{issuer} cannot issue this certificate: {reason}")
        self.issuer = issuer
        self.reason = reason


class CertificateRefused(PkiError):
    """A certificate chain that does not lead to whom we trust, or says more than it may."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"certificate {subject} refused: {reason}")
        self.subject = subject
        self.reason = reason


class CsrRefused(PkiError):
    """A certificate signing request that proves nothing, or is for a key we do not certify."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"certificate signing request refused: {reason}")
        self.reason = reason


class JwtRefused(PkiError):
    """A JWT-SVID that proves nothing, or a key of one that is none. Never carries the token itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"JWT-SVID refused: {reason}")
        self.reason = reason


class BundleRefused(PkiError):
    """A SPIFFE bundle that is damaged, says too much, or is of nobody whom we could believe."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"SPIFFE bundle refused: {reason}")
        self.reason = reason


class KeystoreError(PkiError):
    """Something about keys at rest."""


class KeyExposed(KeystoreError):
    """A secret file that others may read, or that belongs to somebody else."""

    def __init__(self, path: Path, reason: str, hint: str) -> None:
        super().__init__(f"{path} is not secret: {reason}")
        self.path = path
        self.reason = reason
        self.hint = hint


class StateBusy(KeystoreError):
    """A state directory that another process is using."""

    hint = "stop the hub or agent that runs on it, or name another directory with --state"

    def __init__(self, directory: Path) -> None:
        super().__init__(f"{directory} is in use by another process")
        self.directory = directory


class CannotUnseal(KeystoreError):
    """A sealed secret and a passphrase that do not belong together, or a damaged secret."""

    hint = "give the passphrase that it was sealed with; `fedgate seal` changes it"

    def __init__(self, reason: str, what: Path | str = "") -> None:
        super().__init__(f"cannot unseal{f' {what}' if what else ''}: {reason}")
        self.reason = reason


class TokenError(PkiError):
    """A one-time token that cannot be used as it was given. Never carries the token itself."""


class NotAToken(TokenError):
    """Something that was never a token of ours."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"this is not a token: {reason}")
        self.reason = reason
        self.hint = hint


class TokenCut(TokenError):
    """A token whose end is missing."""

    hint = "copy the whole line again; it has no spaces and no line breaks"

    def __init__(self, length: int, whole: int | None) -> None:
        found = f"has {length} characters" + (f" of {whole}" if whole else "")
        super().__init__(f"the token was cut off: it {found}")
        self.length = length
        self.whole = whole


class TokenAltered(TokenError):
    """A token of which some characters changed on the way here."""

    hint = "copy it again; if it was sent through a mail or chat program, send it as a file"

    def __init__(self) -> None:
        super().__init__("the token was altered: its check does not match its content")


class OtherTokenKind(TokenError):
    """A whole token, made for another command."""

    def __init__(self, found: str, wanted: str, hint: str) -> None:
        super().__init__(f"this is a {found} token, and a {wanted} token is needed here")
        self.found = found
        self.wanted = wanted
        self.hint = hint


class TokenExpired(TokenError):
    """A token that was good until *expired*."""

    def __init__(self, token_id: str, expired: datetime, now: datetime, hint: str) -> None:
        super().__init__(
            f"token {token_id} expired at {expired:%Y-%m-%d %H:%M:%S} UTC;"
            f" this machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC"
        )
        self.token_id = token_id
        self.expired = expired
        self.hint = hint
