"""What an agent and the hub say to each other about issuing CAs: JSON bodies of unary calls.

    /fedgate.issuance.v1.Issuance/Renew      RenewRequest → RenewAnswer
    /fedgate.issuance.v1.Issuance/Standing   StandingRequest → StandingAnswer
    /fedgate.issuance.v1.Issuance/Retire     RetireRequest → RetireAnswer
    a refusal                                a gRPC status whose detail is a `Denied`

Who calls is who the certificate of the connection says. An anchor is named by the SHA-256 of its DER, in hex.
"""

from typing import Annotated, Final

import msgspec

from clusters.admission import Instant

SERVICE: Final = "fedgate.issuance.v1.Issuance"
RENEW: Final = "Renew"
STANDING: Final = "Standing"
RETIRE: Final = "Retire"

_Word = Annotated[str, msgspec.Meta(max_length=300)]


class RenewRequest(msgspec.Struct, frozen=True):
    """The cluster that calls wants an issuing CA for the key that *csr*, PEM, proves to have."""

    csr: Annotated[str, msgspec.Meta(max_length=16_384)]
    clock: Instant


class RenewAnswer(msgspec.Struct, frozen=True):
    """The issuing CA and what leads up to the root, each PEM. The same key is always given the same."""

    chain: tuple[str, ...]


class StandingRequest(msgspec.Struct, frozen=True):
    """Who has not got the calling cluster's *anchor* yet?"""

    anchor: _Word


class Lagging(msgspec.Struct, frozen=True):
    """A gateway that has not acknowledged an anchor; without a name it is the cluster's agent."""

    cluster: str
    gateway: str
    reason: str

    @property
    def what(self) -> str:
        """What kind of laggard it is."""
        return "gateway" if self.gateway else "those in" if self.cluster == OUTSIDE else "agent"

    @property
    def who(self) -> str:
        """What people are told whom we wait for."""
        return self.cluster if self.cluster == OUTSIDE else f"{self.cluster}/{self.gateway or 'agent'}"


OUTSIDE: Final = "trust domains outside"
"""Stands for a cluster's name where those lag who follow our bundles: no cluster can be called so."""


class StandingAnswer(msgspec.Struct, frozen=True):
    """Everybody who has not, by cluster and gateway."""

    lagging: tuple[Lagging, ...]


class RetireRequest(msgspec.Struct, frozen=True):
    """Nothing that *anchor* signed is in use any more: take it away."""

    anchor: _Word
    clock: Instant


class RetireAnswer(msgspec.Struct, frozen=True):
    """How many anchors the cluster has now."""

    left: int


class Denied(msgspec.Struct, frozen=True):
    """Why not: a code for programs, a sentence for people, and what to do."""

    code: str
    reason: str
    hint: str = ""
