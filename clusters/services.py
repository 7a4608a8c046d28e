"""What a cluster says of a service: ports, who may call, how calls are shared out, and its endpoints."""

from dataclasses import dataclass
from enum import StrEnum

from clusters.errors import InvalidValue
from clusters.health import HealthCheck
from clusters.names import ServiceName, canonical_addresses, label, port_number, word
from clusters.staleness import HELD, Staleness

MAX_PORTS = 256
"""How many ports a service may have: each one is a listener at every egress of the clusterset."""


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


@dataclass(frozen=True, slots=True, order=True)
class ServicePort:
    """A port of a local service: what callers dial, and what its endpoints listen on."""

    port: Port
    target: int

    def __post_init__(self) -> None:
        port_number(self.target)


def check_ports(service: ServiceName, count: int) -> None:
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


BY_DISTANCE = Traffic()
"""What holds for a service of which nothing is said."""


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
    traffic: Traffic = BY_DISTANCE
    passthrough: bool = False
    staleness: Staleness = HELD

    def __post_init__(self) -> None:
        object.__setattr__(self, "endpoints", canonical_addresses(self.endpoints))
        if not self.ports:
            raise InvalidValue("service", str(self.service), "has no ports")
        check_ports(self.service, len(self.ports))
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
