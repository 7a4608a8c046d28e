"""What a gateway tells its agent of itself, every second: whether calls may come, and what befell it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec

REPORT_PATH: Final = "/v1/report"
NOTICE_PATH: Final = "/v1/notice"
EVERY: Final = 1.0
"""Seconds between two reports of a gateway."""


class Phase(StrEnum):
    """Where a gateway is in its life. Calls are to come to it while it is up, and at no other time."""

    STARTING = "starting"
    UP = "up"
    FAILED = "failed"
    DRAINING = "draining"
    ENDED = "ended"


_Word = Annotated[str, msgspec.Meta(max_length=300)]


class Probe(msgspec.Struct, frozen=True):
    """What probes say of one gateway of *cluster*: whether it lives and since when, and why not.

    `address` is ADDRESS:PORT, and `since` by the clock of the gateway that probes.
    """

    cluster: _Word
    address: _Word
    up: bool
    since: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: _Word = ""


class Probes(msgspec.Struct, frozen=True):
    """All that *gateway* has found out by its probes."""

    gateway: _Word
    probes: Annotated[tuple[Probe, ...], msgspec.Meta(max_length=4096)] = ()


class Anchors(msgspec.Struct, frozen=True):
    """Which issuing CAs *gateway* has acknowledged as anchors: SHA-256 of their DER, in hex, by cluster.

    Without a gateway's name: those that the agent would give to one that asked now.
    """

    gateway: _Word
    anchors: Annotated[
        dict[_Word, Annotated[tuple[_Word, ...], msgspec.Meta(max_length=256)]],
        msgspec.Meta(max_length=4096),
    ]


class Report(msgspec.Struct, frozen=True):
    """How gateway *name* is.

    `vip_ranges` are those that lead to it; none means all. `restarts` is how often its Envoy had to be
    started again, and `last_end` how it ended the last time. `probes` is what it has found out about others.
    `cannot_sever` says why open connections of those that are shut out cannot be ended there, if so.
    `roots` is the hash of the roots that a gateway on another machine has on its disk.
    """

    name: str
    phase: Phase
    egress: bool = True
    vip_ranges: tuple[str, ...] = ()
    restarts: int = 0
    last_end: str = ""
    roles: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    cannot_sever: str = ""
    roots: _Word = ""

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """Which gateway it is: of one name there may be one in each role."""
        return self.name, self.serves

    @property
    def serves(self) -> frozenset[str]:
        """Its roles; a gateway of an older fedgate says only whether it is an egress."""
        return frozenset(self.roles or (("egress", "ingress") if self.egress else ("ingress",)))


class ReportAnswer(msgspec.Struct, frozen=True):
    """What a gateway hears in answer.

    `settle_seconds` is how long one that drains waits before it turns callers away: until they go elsewhere.
    `roots` is the hash of the roots that one on another machine should have; if it has others, it renews.
    """

    settle_seconds: float = 0.0
    roots: _Word = ""


class NoticeAsked(msgspec.Struct, frozen=True):
    """Asks for the newest notice: the answer comes when that is not the one *seen*, or after a while."""

    seen: str = ""


class Notice(msgspec.Struct, frozen=True):
    """What whoever runs an Envoy is to know beside what the Envoy is told: whose open connections to end.

    `barred` are addresses of workloads that nobody is to be any more, and `revoked` the SPIFFE IDs of such
    workloads of any cluster. `version` is another one whenever they are, and whenever a cluster or its
    gateways come or go: Envoy then says itself to whom it has no way now.
    """

    version: str = ""
    barred: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
