"""The clusterset in memory: what the store says, applied record by record and asked for service by service.

It holds records as they are and merges when asked, so that what it answers never depends on the
order in which records came. A cluster counts from its own record on: what is stored under a name
that is not a member, or that is leaving, is there and has no effect.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from clusters.jwt_key import JwtKeys
from clusters.model import (
    ClusterName,
    Export,
    Federation,
    GatewayRecord,
    Import,
    Member,
    ServiceName,
    cluster_name,
)
from federation.registry import keyspace
from federation.registry.codec import decode
from federation.registry.merge import merge
from federation.registry.records import (
    AliveRecord,
    AwayRecord,
    ClusterRecord,
    ClusterState,
    ExportRecord,
    ServiceRecord,
    StatusRecord,
    TrustRecord,
)

K = TypeVar("K")
J = TypeVar("J")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Change:
    """What may look different now: imports, members, what everybody shares, foreign trust domains."""

    services: frozenset[ServiceName] = frozenset()
    clusters: frozenset[ClusterName] = frozenset()
    federation: bool = False
    trusts: frozenset[str] = frozenset()

    @classmethod
    def joined(cls, changes: Iterable["Change"]) -> "Change":
        """All of *changes* as one."""
        told = [change for change in changes if change]
        return cls(
            frozenset().union(*(change.services for change in told)),
            frozenset().union(*(change.clusters for change in told)),
            any(change.federation for change in told),
            frozenset().union(*(change.trusts for change in told)),
        )

    def __bool__(self) -> bool:
        return bool(self.services or self.clusters or self.federation or self.trusts)


NOTHING = Change()


class Clusterset:
    """All clusters and services, for whoever asks. Only its mirror changes it."""

    def __init__(self) -> None:
        self._federation: Federation | None = None
        self._clusters: dict[ClusterName, ClusterRecord] = {}
        self._status: dict[ClusterName, StatusRecord] = {}
        self._alive: dict[ClusterName, AliveRecord] = {}
        self._away: dict[ClusterName, AwayRecord] = {}
        self._jwt_keys: dict[ClusterName, JwtKeys] = {}
        self._gateways: dict[ClusterName, dict[str, GatewayRecord]] = {}
        self._exports: dict[ServiceName, dict[ClusterName, ExportRecord]] = {}
        self._exported_by: dict[ClusterName, dict[ServiceName, ExportRecord]] = {}
        self._services: dict[ServiceName, ServiceRecord] = {}
        self._trusts: dict[str, TrustRecord] = {}

    # --- asking

    @property
    def federation(self) -> Federation | None:
        """What is the same for everybody; `None` until the hub has written it down."""
        return self._federation

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """All members, by name."""
        return tuple(sorted(name for name in self._clusters if self._counts(name)))

    @property
    def evicted(self) -> tuple[ClusterRecord, ...]:
        """The clusters that were shut out, by name."""
        records = (record for _, record in sorted(self._clusters.items()))
        return tuple(record for record in records if record.state is ClusterState.EVICTED)

    @property
    def services(self) -> tuple[ServiceName, ...]:
        """All services that some member exports, by name."""
        return tuple(sorted(name for name in self._exports if self._exporters(name)))

    def import_(self, service: ServiceName) -> Import | None:
        """*service*, merged over all members that export it; `None` when nobody does."""
        record = self._services.get(service)
        return merge(service, record.index, self._exporters(service)) if record else None

    def imports(self) -> Iterator[Import]:
        """All services of the set, by name."""
        for service in self.services:
            if imported := self.import_(service):
                yield imported

    def member(self, name: ClusterName) -> Member | None:
        """The cluster as the others see it; `None` when it is not a member."""
        record = self._clusters.get(name)
        if record is None or not self._counts(name):
            return None
        held = self._jwt_keys.get(name)
        jwt_keys = held.keys if held else ()
        gateways = self._gateways_of(name)
        return Member(name, record.trust_domain, record.anchors, gateways, jwt_keys, self.away(name))

    def members(self) -> Iterator[Member]:
        """All clusters as the others see them, by name."""
        for name in self.clusters:
            if member := self.member(name):
                yield member

    @property
    def trusts(self) -> tuple[TrustRecord, ...]:
        """All foreign trust domains, by name."""
        return tuple(self._trusts[name] for name in sorted(self._trusts))

    def trust(self, trust_domain: str) -> TrustRecord | None:
        """What is written of a foreign trust domain; `None` when it is not believed."""
        return self._trusts.get(trust_domain)

    def exports(self, name: ClusterName) -> Mapping[ServiceName, Export]:
        """What a cluster exports."""
        return {service: record.export for service, record in self._exported_by.get(name, {}).items()}

    def record(self, name: ClusterName) -> ClusterRecord | None:
        """What is written of a member."""
        return self._clusters.get(name) if self._counts(name) else None

    def status(self, name: ClusterName) -> StatusRecord | None:
        """What was last seen of a cluster; `None` when it has never been heard of."""
        return self._status.get(name)

    def connected(self, name: ClusterName) -> bool:
        """Whether the cluster holds its lease at this moment."""
        return name in self._alive

    def away(self, name: ClusterName) -> datetime | None:
        """Since when a cluster that was connected is missing; `None` when nobody has said that it is."""
        record = self._away.get(name)
        return record.since if record else None

    # --- applying

    def apply(self, key: str, value: bytes | None) -> Change:
        """Take in one record, or its deletion when *value* is `None`, and say what may look different.

        One that makes no sense raises `UnreadableRecord` or, for its key, `ClusterError`; nothing has
        changed then. A key of a kind that is unknown here is somebody else's, and changes nothing.
        """
        match keyspace.parts(key):
            case ("federation",):
                self._federation = _read(key, value, Federation)
                return Change(federation=True)
            case ("clusters", name):
                return self._apply_cluster(cluster_name(name), _read(key, value, ClusterRecord))
            case ("status", name):
                _set(self._status, cluster_name(name), _read(key, value, StatusRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("alive", name):
                _set(self._alive, cluster_name(name), _read(key, value, AliveRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("away", name):
                _set(self._away, cluster_name(name), _read(key, value, AwayRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("jwt-keys", name):
                _set(self._jwt_keys, cluster_name(name), _read(key, value, JwtKeys))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("gateways", name, gateway):
                _set_in(self._gateways, cluster_name(name), gateway, _read(key, value, GatewayRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("exports", name, namespace, service):
                exported = ServiceName(namespace, service)
                return self._apply_export(cluster_name(name), exported, _read(key, value, ExportRecord))
            case ("services", namespace, service):
                _set(self._services, ServiceName(namespace, service), _read(key, value, ServiceRecord))
                return Change(frozenset({ServiceName(namespace, service)}))
            case ("trust", trust_domain):
                _set(self._trusts, trust_domain, _read(key, value, TrustRecord))
                return Change(trusts=frozenset({trust_domain}))
        return NOTHING

    def _apply_cluster(self, name: ClusterName, record: ClusterRecord | None) -> Change:
        """A cluster that comes or goes takes what it exports with it."""
        _set(self._clusters, name, record)
        return Change(frozenset(self._exported_by.get(name, ())), frozenset({name}))

    def _apply_export(self, name: ClusterName, service: ServiceName, record: ExportRecord | None) -> Change:
        _set_in(self._exports, service, name, record)
        _set_in(self._exported_by, name, service, record)
        return Change(frozenset({service}))

    # --- what counts

    def _counts(self, name: ClusterName) -> bool:
        record = self._clusters.get(name)
        return record is not None and record.state is ClusterState.ACTIVE

    def _exporters(self, service: ServiceName) -> Mapping[ClusterName, ExportRecord]:
        exports = self._exports.get(service, {})
        return {name: record for name, record in exports.items() if self._counts(name)}

    def _gateways_of(self, name: ClusterName) -> tuple[GatewayRecord, ...]:
        gateways = self._gateways.get(name, {})
        return tuple(gateways[gateway] for gateway in sorted(gateways))


def _read(key: str, value: bytes | None, kind: type[V]) -> V | None:
    return None if value is None else decode(key, value, kind)


def _set(held: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        held.pop(key, None)
    else:
        held[key] = value


def _set_in(held: dict[K, dict[J, V]], key: K, inner: J, value: V | None) -> None:
    """Set in the dictionary under *key*, which is there only as long as it holds something."""
    under = held.setdefault(key, {})
    _set(under, inner, value)
    if not under:
        del held[key]
