"""What the registry writes down, besides the nouns of `clusters.model`."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from clusters.foreign import BundleEndpoint
from clusters.model import Export
from clusters.names import ClusterName, ServiceName
from federation.rollover.phases import Phase

Instant = Annotated[datetime, Meta(tz=True)]
"""A moment with its time zone; it is always the hub's clock that says it."""


class ClusterState(StrEnum):
    """Whether a cluster counts."""

    ACTIVE = "active"
    LEAVING = "leaving"
    """It is out already; its records are being swept up."""
    EVICTED = "evicted"
    """It was shut out, and nobody may join under its name until that is taken back."""


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A cluster that has joined, and by which issuing CAs its SVIDs are known."""

    name: ClusterName
    trust_domain: str
    anchors: tuple[str, ...]
    joined_at: Instant
    state: ClusterState = ClusterState.ACTIVE
    evicted_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class StatusRecord:
    """What was last seen of a cluster; `vip_ranges` are its own, if it does not use the federation's."""

    last_seen: Instant
    version: str = ""
    clock_skew_seconds: float = 0.0
    vip_ranges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AliveRecord:
    """A cluster is connected, since then. *connection* tells this connection from all others."""

    since: Instant
    connection: str = ""


@dataclass(frozen=True, slots=True)
class AwayRecord:
    """A cluster is missing, since then."""

    since: Instant


@dataclass(frozen=True, slots=True)
class AcceptedRecord:
    """The doubted withdrawal of that moment is to be believed."""

    since: Instant


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """A cluster's export, and since when the hub knows it: the oldest wins a conflict."""

    export: Export
    first_exported_at: Instant


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service's place in every VIP range, and who exports it.

    Nobody exports it any more when `exporters` is empty. The record then waits, so that a service
    that comes back has its old addresses, until another service needs the index.
    """

    index: int
    exporters: tuple[ClusterName, ...]


@dataclass(frozen=True, slots=True)
class NextIndex:
    """The lowest VIP index that was never used."""

    index: int


@dataclass(frozen=True, slots=True)
class FreedIndex:
    """A VIP index that nobody uses, the service whose it was, and since when."""

    index: int
    service: ServiceName
    freed_at: Instant


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """A foreign trust domain: where its bundle is fetched, the last good one, and when that came from there.

    `document` is the bundle as it was told; empty before there was one.
    """

    endpoint: BundleEndpoint
    document: str = ""
    fetched_at: Instant | None = None


class TokenState(StrEnum):
    """What has become of a join token."""

    UNUSED = "unused"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A join token, by the hash of its secret."""

    id: str
    secret_hash: str
    cluster: ClusterName
    created: Instant
    expires: Instant
    used_at: Instant | None = None
    revoked_at: Instant | None = None

    def state(self, now: datetime) -> TokenState:
        """What has become of it by *now*."""
        if self.used_at:
            return TokenState.USED
        if self.revoked_at:
            return TokenState.REVOKED
        return TokenState.EXPIRED if now >= self.expires else TokenState.UNUSED

    @property
    def ended_at(self) -> datetime:
        """From when on it opened no door."""
        return self.used_at or self.revoked_at or self.expires


@dataclass(frozen=True, slots=True)
class RolloverRecord:
    """One root takes over from another: which ones, PEM, the cross-certificate, and how far it has come.

    With *auto* each step is taken as soon as it may be.
    """

    phase: Phase
    old: str
    new: str
    cross: str
    started: Instant
    auto: bool = False
    switched: Instant | None = None


@dataclass(frozen=True, slots=True)
class ProofRecord:
    """Somebody was seen to believe a chain by the root of this fingerprint alone."""

    root: str
    at: Instant


@dataclass(frozen=True, slots=True)
class AuthoritiesRecord:
    """The files of root and hub CA by their names, keys sealed, where several hubs share them."""

    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class HubRecord:
    """A hub that runs: where clusters join and where agents connect, and since when it does.

    `instance` tells it from another one of that name. `root` is the fingerprint of the root that its own
    certificate leads to.
    """

    name: str
    instance: str
    join: tuple[str, ...]
    sync: tuple[str, ...]
    version: str
    since: Instant
    root: str = ""


@dataclass(frozen=True, slots=True)
class LeaderRecord:
    """The hub that is elected, and since when."""

    name: str
    instance: str
    since: Instant
