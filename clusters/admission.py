"""What is said over HTTPS when a cluster joins the hub, or a gateway enrols with its agent.

One definition for both ends. Requests and answers are JSON; fields that are not known are ignored, so that
either side may be the newer one, and `protocol` says when that is no longer enough.

    GET  /v1/root    → the federation's roots, PEM: to be believed only as far as a pin goes
    POST /v1/join    JoinRequest  → JoinAnswer     (hub)
    POST /v1/reattest  ReattestRequest → ReattestAnswer  (hub, by the key of an issuing CA that has ended)
    POST /v1/enrol   EnrolRequest → EnrolAnswer    (agent)
    POST /v1/renew   RenewRequest → RenewAnswer    (agent, by the gateway's client certificate)
    POST /v1/report  see `clusters.reports`        (agent, the same way)
    any refusal      4xx          → Refused
"""

# ruff: noqa: S105 - a refusal that is named after a token is no secret

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]

PROTOCOL: Final = 1
"""The protocol of this module. Another one is refused with `protocol-unsupported`."""

ROOT_PATH: Final = "/v1/root"
JOIN_PATH: Final = "/v1/join"
REATTEST_PATH: Final = "/v1/reattest"
ENROL_PATH: Final = "/v1/enrol"
RENEW_PATH: Final = "/v1/renew"

SKEW_WARNED: Final = 5.0
"""Clocks that differ by more seconds than this are worth a word."""
SKEW_REFUSED: Final = 60.0
"""Clocks that differ by more seconds than this make certificates fail: no join."""


class Refusal(StrEnum):
    """Why the other end said no."""

    TOKEN_UNKNOWN = "token-unknown"
    TOKEN_USED = "token-used"
    TOKEN_EXPIRED = "token-expired"
    TOKEN_REVOKED = "token-revoked"
    TOKEN_WRONG_CLUSTER = "token-wrong-cluster"
    TOKEN_WRONG_GATEWAY = "token-wrong-gateway"
    SECRET_WRONG = "secret-wrong"
    CLUSTER_EXISTS = "cluster-exists"
    CLOCK_SKEW = "clock-skew"
    PROTOCOL_UNSUPPORTED = "protocol-unsupported"
    CSR_INVALID = "csr-invalid"
    PROOF_INVALID = "proof-invalid"
    GRACE_OVER = "grace-over"


class JoinRequest(msgspec.Struct, frozen=True):
    """A cluster asks to be let in: the token's id and secret, and a request for its issuing CA."""

    token_id: str
    secret: str
    cluster: str
    csr: str
    version: str
    clock: Instant
    protocol: int = PROTOCOL
    rejoin: bool = False

    def __repr__(self) -> str:
        return f"JoinRequest(token_id={self.token_id!r}, cluster={self.cluster!r})"


class JoinAnswer(msgspec.Struct, frozen=True):
    """The cluster is in: its issuing CA's certificate and the hub CA's, the roots, and where to go next."""

    cluster: str
    domain: str
    trust_domain: str
    chain: tuple[str, ...]
    roots: tuple[str, ...]
    sync: tuple[str, ...]
    vip_ranges: tuple[str, ...]
    now: Instant


class ReattestRequest(msgspec.Struct, frozen=True):
    """A cluster that has slept past the end of its issuing CA asks for the next one.

    *anchor* is the SHA-256 of the issuing CA that it still has, in hex, and *proof* a signature by its key
    over `statement`.
    """

    cluster: str
    anchor: str
    csr: str
    clock: Instant
    proof: bytes

    @property
    def statement(self) -> bytes:
        """What is signed: everything that is asked, so that a proof is good for nothing else."""
        said = ("fedgate reattest 1", self.cluster, self.anchor, self.csr, self.clock.isoformat())
        return msgspec.json.encode(said)


class ReattestAnswer(msgspec.Struct, frozen=True):
    """The issuing CA's certificate and what leads up to the root, each PEM."""

    chain: tuple[str, ...]


class EnrolRequest(msgspec.Struct, frozen=True):
    """A gateway asks its agent for the certificate by which it may ask for its configuration."""

    token_id: str
    secret: str
    name: str
    role: str
    csr: str

    def __repr__(self) -> str:
        return f"EnrolRequest(token_id={self.token_id!r}, name={self.name!r}, role={self.role!r})"


class EnrolAnswer(msgspec.Struct, frozen=True):
    """The gateway's certificate and what leads up from it, the roots, and the address of its ADS."""

    chain: tuple[str, ...]
    roots: tuple[str, ...]
    ads: str
    domain: str
    trust_domain: str


class RenewRequest(msgspec.Struct, frozen=True):
    """An enrolled gateway asks for its next certificate."""

    csr: str


class RenewAnswer(msgspec.Struct, frozen=True):
    """The next certificate, and the roots as they are now."""

    chain: tuple[str, ...]
    roots: tuple[str, ...]


class Reason(msgspec.Struct, frozen=True):
    """Why not: a code for programs, a sentence for people, and what to do."""

    code: str
    message: str
    hint: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The body of a refusal."""

    error: Reason
