"""The clusterset in memory: what the store says, applied record by record and asked for service by service.

It holds records as they are and merges when asked, so that what it answers never depends on the
order in which records came. A cluster counts from its own record on: what is stored under a name
that is not a member, or that is leaving, is there and has no effect.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from clusters.jwt_key import JwtKeys
from clusters.model import Export, Federation, GatewayRecord, Import, Member
from clusters.names import ClusterName, ServiceName, cluster_name
from clusters.revoked import Revoked
from clusters.withheld import Withheld
from federation.registry import keyspace
from federation.registry.codec import decode
from federation.registry.grants import Grants
from federation.registry.hubs import at_hubs
from federation.registry.judge import Judge
from federation.registry.merge import merge
from federation.registry.records import (
    AcceptedRecord,
    AliveRecord,
    AwayRecord,
    ClusterRecord,
    ClusterState,
    ExportRecord,
    HubRecord,
    LeaderRecord,
    RolloverRecord,
    ServiceRecord,
    StatusRecord,
    TrustRecord,
)

K = TypeVar("K")
J = TypeVar("J")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Change:
    """What may look different now: imports, members, what everybody shares, foreign trust domains.

    `hubs`: which hubs run, or which is elected. `authorities`: the files of root and hub CA, or the rollover.
    With *verdicts* also what clusters are told of that which is their own, whatever it is.
    """

    services: frozenset[ServiceName] = frozenset()
    clusters: frozenset[ClusterName] = frozenset()
    federation: bool = False
    trusts: frozenset[str] = frozenset()
    verdicts: bool = False
    hubs: bool = False
    authorities: bool = False

    @classmethod
    def joined(cls, changes: Iterable["Change"]) -> "Change":
        """All of *changes* as one."""
        told = [change for change in changes if change]
        return cls(
            frozenset().union(*(change.services for change in told)),
            frozenset().union(*(change.clusters for change in told)),
            any(change.federation for change in told),
            frozenset().union(*(change.trusts for change in told)),
            any(change.verdicts for change in told),
            any(change.hubs for change in told),
            any(change.authorities for change in told),
        )

    def __bool__(self) -> bool:
        shared = self.federation or self.verdicts or self.hubs or self.authorities
        return bool(self.services or self.clusters or self.trusts or shared)


NOTHING = Change()


class Clusterset:
    """All clusters and services, for whoever asks. Only its mirror changes it.

    With *one_machine* all clusters are on the hub's own machine, where loopback is one place.
    """

    def __init__(self, *, one_machine: bool = False) -> None:
        self._one_machine = one_machine
        self._grants = Grants()
        self._judge: Judge | None = None
        self._federation: Federation | None = None
        self._told: Federation | None = None
        self._clusters: dict[ClusterName, ClusterRecord] = {}
        self._status: dict[ClusterName, StatusRecord] = {}
        self._alive: dict[ClusterName, AliveRecord] = {}
        self._away: dict[ClusterName, AwayRecord] = {}
        self._withheld: dict[ClusterName, Withheld] = {}
        self._accepted: dict[ClusterName, AcceptedRecord] = {}
        self._jwt_keys: dict[ClusterName, JwtKeys] = {}
        self._revoked: dict[ClusterName, Revoked] = {}
        self._gateways: dict[ClusterName, dict[str, GatewayRecord]] = {}
        self._exports: dict[ServiceName, dict[ClusterName, ExportRecord]] = {}
        self._exported_by: dict[ClusterName, dict[ServiceName, ExportRecord]] = {}
        self._services: dict[ServiceName, ServiceRecord] = {}
        self._trusts: dict[str, TrustRecord] = {}
        self._hubs: dict[str, HubRecord] = {}
        self.leader: LeaderRecord | None = None
        """The hub that is elected."""
        self.rollover: RolloverRecord | None = None
        """The rollover of the root that is under way."""

    # --- asking

    @property
    def federation(self) -> Federation | None:
        """What is the same for everybody, and where the hubs are; `None` until a hub has written it down."""
        return self._told

    @property
    def hubs(self) -> tuple[HubRecord, ...]:
        """The hubs that run, by name."""
        return tuple(self._hubs[name] for name in sorted(self._hubs))

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """All members, by name."""
        return tuple(sorted(name for name in self._clusters if self._counts(name)))

    @property
    def evicted(self) -> tuple[ClusterRecord, ...]:
        """The clusters that were shut out, by name."""
        gone = [record for record in self._clusters.values() if record.state is ClusterState.EVICTED]
        return tuple(sorted(gone, key=attrgetter("name")))

    @property
    def services(self) -> tuple[ServiceName, ...]:
        """All services that some member exports, by name."""
        return tuple(sorted(name for name in self._exports if self.exporters(name)))

    @property
    def judge(self) -> Judge:
        """Who decides by the grants as they are, among the members that there are."""
        if self._judge is None:
            ranges = self._federation.vip_ranges if self._federation else ()
            self._judge = Judge(self._grants, self.clusters, ranges, one_machine=self._one_machine)
        return self._judge

    def exporters(self, service: ServiceName) -> Mapping[ClusterName, ExportRecord]:
        """The members that may export *service* and do, with what they have of it."""
        exports, judge = self._exports.get(service, {}), self.judge
        return {
            name: record
            for name, record in exports.items()
            if self._counts(name) and judge.rule(name, service).granted
        }

    def index(self, service: ServiceName) -> int | None:
        """The place of *service* in every VIP range, if it has one."""
        record = self._services.get(service)
        return record.index if record else None

    def import_(self, service: ServiceName) -> Import | None:
        """*service*, merged over all members that may export it and do; `None` when nobody does."""
        record = self._services.get(service)
        return merge(service, record.index, self.exporters(service)) if record else None

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
        keys, revoked = self._jwt_keys.get(name), self._revoked.get(name)
        accepted = self._accepted.get(name)
        return Member(
            name,
            record.trust_domain,
            record.anchors,
            self._gateways_of(name),
            keys.keys if keys else (),
            revoked.workloads if revoked else (),
            self.away(name),
            accepted.since if accepted else None,
        )

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

    def exported(self, name: ClusterName, service: ServiceName) -> ExportRecord | None:
        """What a cluster says of *service*, also if it may not export it; None if it does not."""
        return self._exports.get(service, {}).get(name)

    def gateways(self, name: ClusterName) -> Mapping[str, GatewayRecord]:
        """The gateways that a cluster says it has, also where they may not be."""
        return self._gateways.get(name, {})

    def record(self, name: ClusterName) -> ClusterRecord | None:
        """What is written of a member."""
        return self._clusters.get(name) if self._counts(name) else None

    def status(self, name: ClusterName) -> StatusRecord | None:
        """What was last seen of a cluster; `None` when it has never been heard of."""
        return self._status.get(name)

    def alive(self, name: ClusterName) -> AliveRecord | None:
        """Which connection the cluster has, to whichever hub."""
        return self._alive.get(name)

    def connected(self, name: ClusterName) -> bool:
        """Whether the cluster holds its lease at this moment."""
        return name in self._alive

    def withheld(self, name: ClusterName) -> Withheld | None:
        """What a cluster goes on to offer though its source does not say so."""
        return self._withheld.get(name)

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
                self._federation, self._judge = _read(key, value, Federation), None
                self._told = at_hubs(self._federation, self.hubs)
                return Change(federation=True)
            case ("grants",):
                return self._apply_grants(_read(key, value, Grants) or Grants())
            case ("clusters", name):
                return self._apply_cluster(cluster_name(name), _read(key, value, ClusterRecord))
            case ("status", name):
                _set(self._status, cluster_name(name), _read(key, value, StatusRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("alive", name):
                _set(self._alive, cluster_name(name), _read(key, value, AliveRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("withheld", name):
                _set(self._withheld, cluster_name(name), _read(key, value, Withheld))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("accepted", name):
                _set(self._accepted, cluster_name(name), _read(key, value, AcceptedRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("away", name):
                _set(self._away, cluster_name(name), _read(key, value, AwayRecord))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("jwt-keys", name):
                _set(self._jwt_keys, cluster_name(name), _read(key, value, JwtKeys))
                return Change(clusters=frozenset({ClusterName(name)}))
            case ("revoked", name):
                _set(self._revoked, cluster_name(name), _read(key, value, Revoked))
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
            case ("hubs", hub):
                _set(self._hubs, hub, _read(key, value, HubRecord))
                before, self._told = self._told, at_hubs(self._federation, self.hubs)
                return Change(hubs=True, federation=self._told != before)
            case ("leader",):
                self.leader = _read(key, value, LeaderRecord)
                return Change(hubs=True)
            case ("rollover",):
                self.rollover = _read(key, value, RolloverRecord)
                return Change(authorities=True)
            case ("authorities",):
                return Change(authorities=True)
        return NOTHING

    def _apply_cluster(self, name: ClusterName, record: ClusterRecord | None) -> Change:
        """A cluster that comes or goes takes what it exports with it."""
        counted = self._counts(name)
        _set(self._clusters, name, record)
        moved = self._counts(name) is not counted
        if moved:
            self._judge = self.judge.among(self.clusters)
        verdicts = moved and self.judge.restricts_callers
        return Change(frozenset(self._exported_by.get(name, ())), frozenset({name}), verdicts=verdicts)

    def _apply_grants(self, grants: Grants) -> Change:
        """Other grants change what is exported by them, and touch nothing else."""
        before = self.judge
        self._grants, self._judge = grants, None
        pairs = ((name, service) for service, exports in self._exports.items() for name in exports)
        services = frozenset(
            service for name, service in pairs if before.rule(name, service) != self.judge.rule(name, service)
        )
        return Change(services, frozenset(self._gateways), verdicts=True)

    def _apply_export(self, name: ClusterName, service: ServiceName, record: ExportRecord | None) -> Change:
        _set_in(self._exports, service, name, record)
        _set_in(self._exported_by, name, service, record)
        return Change(frozenset({service}))

    # --- what counts

    def _counts(self, name: ClusterName) -> bool:
        record = self._clusters.get(name)
        return record is not None and record.state is ClusterState.ACTIVE

    def _gateways_of(self, name: ClusterName) -> tuple[GatewayRecord, ...]:
        """The gateways of a cluster, at those of their addresses where they may be."""
        found = []
        for _, gateway in sorted(self._gateways.get(name, {}).items()):
            addresses = tuple(a for a in gateway.addresses if self.judge.address(name, a))
            if addresses:
                found.append(
                    gateway if addresses == gateway.addresses else replace(gateway, addresses=addresses)
                )
        return tuple(found)


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
