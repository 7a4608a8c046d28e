"""The nouns of a clusterset: values that check themselves, so that one that exists is valid.

Three groups, in the order in which they travel:

- what a cluster's source says (`Offer`: its services, workloads and gateways),
- what crosses to the hub and back (`Export`, `GatewayRecord`, `Member`, `Import`, `Federation`),
- what an agent knows in the end (`ClusterView`), from which everything else is computed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv6Network, ip_address, ip_network

from clusters.attestation import UnixSelector
from clusters.errors import InvalidValue
from clusters.foreign import TrustBundle
from clusters.jwt_key import JwtKey
from clusters.names import (
    ClusterName,
    ServiceName,
    canonical_addresses,
    host,
    is_address,
    label,
    port_number,
    word,
)
from clusters.revoked import check as check_revoked
from clusters.services import BY_DISTANCE, LocalService, Port, Protocol, Traffic, TrafficPolicy, check_ports
from clusters.staleness import HELD, Staleness
from pki.errors import PkiError
from pki.spiffe import federation_domain, trust_domain_of

MAX_READY = 1_000_000
"""How many ready endpoints a cluster may say that a service has."""
MAX_GATEWAYS = 128
"""How many gateways a cluster may have."""
MAX_ADDRESSES = 64
"""How many addresses a gateway may have."""


# --- what a cluster's source says -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Workload:
    """Someone who calls: a service account of a namespace, and the addresses it calls from.

    `unix` is what its processes on the agent's machine are known by, if they may ask the agent for its SVID.
    """

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    unix: UnixSelector | None = None

    def __post_init__(self) -> None:
        label("namespace", self.namespace)
        label("workload", self.name)
        object.__setattr__(self, "addresses", canonical_addresses(self.addresses))


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    """Where something runs, as Envoy and the KEPs name it."""

    region: str = ""
    zone: str = ""

    def __post_init__(self) -> None:
        for part in (self.region, self.zone):
            if part:
                word(part)


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """An ingress gateway that other clusters dial: each address with *port* reaches it.

    An address may be a DNS name: it is resolved where it is dialled, again and again.
    """

    name: str
    addresses: tuple[str, ...]
    port: int = 15008
    locality: Locality = Locality()

    def __post_init__(self) -> None:
        label("gateway", self.name)
        port_number(self.port)
        object.__setattr__(self, "addresses", tuple(host(address) for address in self.addresses))
        if not self.addresses:
            raise InvalidValue("gateway", self.name, "has no addresses")
        if len(self.addresses) > MAX_ADDRESSES:
            raise InvalidValue("gateway", self.name, f"has more than {MAX_ADDRESSES} addresses")

    @property
    def has_names(self) -> bool:
        """Whether some address has to be resolved."""
        return not all(is_address(address) for address in self.addresses)


@dataclass(frozen=True, slots=True)
class Offer:
    """All that a cluster's source says, at one moment, without the workloads that its agent has `revoked`."""

    services: Mapping[ServiceName, LocalService] = field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()
    gateways: tuple[GatewayRecord, ...] = ()
    revoked: tuple[str, ...] = ()


# --- what crosses -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Export:
    """What a cluster tells the hub of a service: that it has it, how much is ready, how to share calls."""

    service: ServiceName
    ports: tuple[Port, ...]
    ready_endpoints: int = 0
    traffic: Traffic = BY_DISTANCE
    passthrough: bool = False
    staleness: Staleness = HELD

    def __post_init__(self) -> None:
        check_ports(self.service, len(self.ports))
        if not 0 <= self.ready_endpoints <= MAX_READY:
            raise InvalidValue("ready endpoints", self.ready_endpoints, f"want 0-{MAX_READY}")


@dataclass(frozen=True, slots=True)
class Offering:
    """One cluster's part in an imported service; what becomes of it when that cluster is away is its own."""

    cluster: ClusterName
    ports: tuple[Port, ...]
    ready_endpoints: int
    weight: int = BY_DISTANCE.weight
    staleness: Staleness = HELD


@dataclass(frozen=True, slots=True)
class Import:
    """A service of the clusterset, merged over all that export it.

    `index` is its place in every VIP range: address = range's base + index. `conflict` says in one
    line how the exporters disagree, and is empty when they do not. One exporter is enough for `passthrough`.
    """

    service: ServiceName
    index: int
    ports: tuple[Port, ...]
    offerings: tuple[Offering, ...]
    conflict: str = ""
    policy: TrafficPolicy = TrafficPolicy.FAILOVER
    passthrough: bool = False

    def __post_init__(self) -> None:
        if self.index < 1:
            raise InvalidValue("VIP index", self.index, "want 1 or more: 0 is the range's own")

    def offerings_at(self, port: int) -> tuple[Offering, ...]:
        """The clusters that offer TCP *port* of this service."""
        return tuple(
            offering
            for offering in self.offerings
            if any(p.number == port and p.protocol is Protocol.TCP for p in offering.ports)
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A cluster of the set as the others see it.

    `anchors` are its issuing CAs, PEM, each followed by what leads up to the root. `jwt_keys` are those by
    which its JWT-SVIDs are known. `revoked` are workloads of it that are nobody now, as `NAMESPACE/NAME`.
    `away` is since when no hub hears of its agent, by the hub's clock. `accepted` is of which moment the
    withdrawal is that its agent is to believe.
    """

    name: ClusterName
    trust_domain: str
    anchors: tuple[str, ...]
    gateways: tuple[GatewayRecord, ...] = ()
    jwt_keys: tuple[JwtKey, ...] = ()
    revoked: tuple[str, ...] = ()
    away: datetime | None = None
    accepted: datetime | None = None

    def __post_init__(self) -> None:
        check_revoked(self.name, self.revoked)
        cluster, _, domain = self.trust_domain.partition(".")
        try:
            trust_domain_of(cluster, domain)
        except PkiError as error:
            raise InvalidValue("member's trust domain", self.trust_domain, str(error)) from error


_network = lru_cache(maxsize=64)(ip_network)  # few ranges, asked for every address in them


@dataclass(frozen=True, slots=True)
class VipRange:
    """A block of addresses, from which each imported service has the one at its index."""

    cidr: str

    def __post_init__(self) -> None:
        try:
            network = ip_network(self.cidr)
        except ValueError as error:
            raise InvalidValue("VIP range", self.cidr, str(error)) from error
        mapped = isinstance(network, IPv6Network) and network.network_address.ipv4_mapped
        if "%" in self.cidr or mapped or network.is_multicast:
            raise InvalidValue("VIP range", self.cidr, "want addresses of hosts, without a zone")

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return _network(self.cidr).num_addresses

    def address(self, index: int) -> str:
        """The address of the service at *index*; index 0 is the range's own and no service's."""
        if not 0 < index < self.size - 1:
            raise InvalidValue("VIP index", index, f"outside of {self.cidr}")
        return str(_network(self.cidr)[index])

    def __contains__(self, address: str) -> bool:
        parsed = ip_address(address)
        network = ip_network(self.cidr)
        return parsed.version == network.version and parsed in network

    def overlaps(self, other: "VipRange") -> bool:
        """Whether some address is in both."""
        mine, theirs = ip_network(self.cidr), ip_network(other.cidr)
        return mine.version == theirs.version and mine.overlaps(theirs)


def vips_in(ranges: Iterable[VipRange], imported: Import) -> tuple[str, ...]:
    """The addresses of *imported* in those of *ranges* that are long enough."""
    return tuple(block.address(imported.index) for block in ranges if imported.index < block.size - 1)


@dataclass(frozen=True, slots=True)
class Federation:
    """What is the same for everybody: the trust domain above the clusters', its roots, the VIP ranges.

    There are two roots while one takes over from the other, the older one first. `signing` is the fingerprint
    of the one that signs; without it there is only one. `crosses` are the cross-certificates by which the
    newer one counts for those who know the older one, and `prove_at` the hubs' addresses where they show
    that it does, as long as that is asked for. `join` and `sync` are where the hubs are that run: where
    clusters join, and where their streams go.
    """

    domain: str
    roots: tuple[str, ...]
    vip_ranges: tuple[VipRange, ...]
    crosses: tuple[str, ...] = ()
    signing: str = ""
    prove_at: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    sync: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            federation_domain(self.domain)
        except PkiError as error:
            raise InvalidValue("federation", self.domain, str(error)) from error


# --- what an agent knows ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The clusterset as seen from *home*: enough to answer DNS and to program every gateway of it.

    `vip_ranges` are the federation's unless this cluster has ranges of its own. `handed_on` is when an
    address of this cluster last passed from one workload to another, if one has. `trusts` are the trust
    domains outside that are believed, by name. `callers` has those that may call each service of this
    cluster: None for all members. `callers_unsaid` are those that may call one that is not in there.
    """

    home: ClusterName
    federation: Federation
    vip_ranges: tuple[VipRange, ...]
    offer: Offer = field(default_factory=Offer)
    members: Mapping[ClusterName, Member] = field(default_factory=dict)
    imports: Mapping[ServiceName, Import] = field(default_factory=dict)
    handed_on: datetime | None = None
    trusts: Mapping[str, TrustBundle] = field(default_factory=dict)
    callers: Mapping[ServiceName, tuple[ClusterName, ...] | None] = field(default_factory=dict)
    callers_unsaid: tuple[ClusterName, ...] | None = None

    def vips(self, imported: Import) -> tuple[str, ...]:
        """The addresses that *imported* has here, one for each range that is long enough."""
        return vips_in(self.vip_ranges, imported)
