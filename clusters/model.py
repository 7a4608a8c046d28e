"""The nouns of a clusterset: values that check themselves, so that one that exists is valid.

Three groups, in the order in which they travel:

- what a cluster's source says (`Offer`: its services, workloads and gateways),
- what crosses to the hub and back (`Export`, `GatewayRecord`, `Member`, `Import`, `Federation`),
- what an agent knows in the end (`ClusterView`), from which everything else is computed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import NewType

from clusters.attestation import UnixSelector
from clusters.errors import InvalidName, InvalidValue
from clusters.foreign import TrustBundle
from clusters.health import HealthCheck
from clusters.jwt_key import JwtKey
from clusters.revoked import check as check_revoked
from clusters.staleness import HELD, Staleness
from pki.errors import PkiError
from pki.spiffe import federation_domain, trust_domain_of

ClusterName = NewType("ClusterName", str)

CLUSTERSET_DOMAIN = "clusterset.local"

MAX_PORTS = 256
"""How many ports a service may have: each one is a listener at every egress of the clusterset."""
MAX_READY = 1_000_000
"""How many ready endpoints a cluster may say that a service has."""
MAX_GATEWAYS = 128
"""How many gateways a cluster may have."""
MAX_ADDRESSES = 64
"""How many addresses a gateway may have."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?")


def label(kind: str, name: str) -> str:
    """Check *name* against RFC 1123's label, as Kubernetes does."""
    if not _LABEL.fullmatch(name):
        raise InvalidName(
            kind, name, "want 1-63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
        )
    return name


def word(text: str) -> str:
    """Check that *text* is one word: an application protocol, a region, a zone."""
    if not _WORD.fullmatch(text):
        raise InvalidValue("word", text, "want letters, digits, '.', '_', '/' and '-'")
    return text


def cluster_name(text: str) -> ClusterName:
    """Parse a cluster's name: an RFC 1123 label, as it becomes a part of the trust domain."""
    return ClusterName(label("cluster", text))


@lru_cache(maxsize=65536)
def canonical_address(text: str) -> str:
    """Bring an IP address to its one canonical spelling."""
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise InvalidValue("address", text, "not an IPv4 or IPv6 address") from error


def host_address(text: str) -> str:
    """Check that *text* is an address that one host can have and another can dial."""
    address = ip_address(canonical_address(text))
    if address.is_unspecified or address.is_multicast:
        raise InvalidValue("address", text, "not the address of a host")
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise InvalidValue("address", text, "has a zone, which means nothing on another host")
        if address.ipv4_mapped is not None:
            raise InvalidValue("address", text, f"write {address.ipv4_mapped}")
    return str(address)


def is_address(text: str) -> bool:
    """Whether *text* is an IP address, in any spelling."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def host(text: str) -> str:
    """Check what a gateway is dialled at: an IP address, or a DNS name that is not one in disguise."""
    if is_address(text):
        return canonical_address(text)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(part) for part in labels) or labels[-1].isdigit():
        raise InvalidValue("address", text, "not an IPv4 or IPv6 address, and no DNS name")
    return name


def _canonical(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(canonical_address(address) for address in addresses)


@dataclass(frozen=True, slots=True, order=True)
class ServiceName:
    """A service, the same in every cluster of the set (KEP-1645's namespace sameness)."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        label("namespace", self.namespace)
        label("service", self.name)

    @classmethod
    def parse(cls, text: str) -> "ServiceName":
        """Undo `str`: `shop/catalog`."""
        namespace, slash, name = text.partition("/")
        if not slash:
            raise InvalidName("service", text, "want NAMESPACE/NAME")
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def dns_name(self) -> str:
        """`catalog.shop.svc.clusterset.local`, without the final dot."""
        return f"{self.name}.{self.namespace}.svc.{CLUSTERSET_DOMAIN}"

    def authority(self, port: int) -> str:
        """The CONNECT authority that names this service's *port* between gateways."""
        return f"{self.dns_name}:{port}"


class Protocol(StrEnum):
    """A transport protocol, as Kubernetes spells it. Only TCP is carried."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port that a service is called on."""

    number: int
    name: str = ""
    protocol: Protocol = Protocol.TCP
    app_protocol: str | None = None

    def __post_init__(self) -> None:
        port_number(self.number)
        if self.name:
            label("port", self.name)
        if self.app_protocol is not None:
            word(self.app_protocol)


def port_number(number: int) -> int:
    """Check that *number* can be a port."""
    if not 1 <= number <= 65535:
        raise InvalidValue("port", number, "want 1-65535")
    return number


@dataclass(frozen=True, slots=True)
class CallerPattern:
    """Whom a service lets in: a SPIFFE ID, or the beginning of one followed by `*`."""

    text: str

    def __post_init__(self) -> None:
        body = self.text.removesuffix("*")
        if not self.text.startswith("spiffe://") or "*" in body:
            raise InvalidValue("caller", self.text, "want a SPIFFE ID, with at most one '*' at its end")
        trust_domain, slash, _ = body.removeprefix("spiffe://").partition("/")
        if not trust_domain or not slash:  # `spiffe://on*` would let in every cluster whose name begins so
            raise InvalidValue("caller", self.text, "want the whole trust domain: spiffe://TRUST-DOMAIN/...")

    @property
    def is_prefix(self) -> bool:
        """Whether any ID that begins so is let in."""
        return self.text.endswith("*")

    @property
    def literal(self) -> str:
        """The ID, or the beginning of it, without the star."""
        return self.text.removesuffix("*")


# --- what a cluster's source says -------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class ServicePort:
    """A port of a local service: what callers dial, and what its endpoints listen on."""

    port: Port
    target: int

    def __post_init__(self) -> None:
        port_number(self.target)


def _check_ports(service: ServiceName, count: int) -> None:
    if count > MAX_PORTS:
        raise InvalidValue("service", str(service), f"has {count} ports, more than {MAX_PORTS}")


class TrafficPolicy(StrEnum):
    """How calls are shared out between the clusters of a service.

    Failover: each call goes to the nearest cluster that takes it. Weighted: to any of them, by their weights.
    """

    FAILOVER = "Failover"
    WEIGHTED = "Weighted"


MAX_WEIGHT = 1000


def weight(number: int) -> int:
    """Check that *number* can be a cluster's share."""
    if not 0 <= number <= MAX_WEIGHT:
        raise InvalidValue("weight", number, f"want 0-{MAX_WEIGHT}")
    return number


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a cluster says of how calls are shared out, and what its own share is to be.

    A cluster of weight 0 is called when no other takes the call.
    """

    policy: TrafficPolicy = TrafficPolicy.FAILOVER
    weight: int = 100

    def __post_init__(self) -> None:
        weight(self.weight)


@dataclass(frozen=True, slots=True)
class LocalService:
    """A service that this cluster runs and offers to the clusterset.

    `allow` is empty when any known workload of a member may call. `down` are those of `endpoints` that were
    found to take no calls, which no source says. With `passthrough` no gateway looks into its calls, whatever
    its ports say that they speak.
    """

    service: ServiceName
    ports: tuple[ServicePort, ...]
    endpoints: tuple[str, ...] = ()
    allow: tuple[CallerPattern, ...] = ()
    health: HealthCheck | None = None
    down: tuple[str, ...] = ()
    traffic: Traffic = Traffic()
    passthrough: bool = False
    staleness: Staleness = HELD

    def __post_init__(self) -> None:
        object.__setattr__(self, "endpoints", _canonical(self.endpoints))
        if not self.ports:
            raise InvalidValue("service", str(self.service), "has no ports")
        _check_ports(self.service, len(self.ports))
        for what in (
            {(p.port.number, p.port.protocol) for p in self.ports},
            {p.port.name for p in self.ports},
        ):
            if len(what) != len(self.ports):
                raise InvalidValue("service", str(self.service), "two ports share a number or a name")

    @property
    def ready(self) -> tuple[str, ...]:
        """The endpoints that calls are sent to."""
        return tuple(address for address in self.endpoints if address not in self.down)


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
        object.__setattr__(self, "addresses", _canonical(self.addresses))


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
    traffic: Traffic = Traffic()
    passthrough: bool = False
    staleness: Staleness = HELD

    def __post_init__(self) -> None:
        _check_ports(self.service, len(self.ports))
        if not 0 <= self.ready_endpoints <= MAX_READY:
            raise InvalidValue("ready endpoints", self.ready_endpoints, f"want 0-{MAX_READY}")


@dataclass(frozen=True, slots=True)
class Offering:
    """One cluster's part in an imported service; what becomes of it when that cluster is away is its own."""

    cluster: ClusterName
    ports: tuple[Port, ...]
    ready_endpoints: int
    weight: int = Traffic().weight
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
