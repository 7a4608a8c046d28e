"""Small worlds for tests: everything that a test does not care about is filled in here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from clusters.foreign import TrustBundle
from clusters.health import HealthCheck
from clusters.jwt_key import JwtKeys
from clusters.keyring import published
from clusters.model import (
    ClusterView,
    Federation,
    GatewayRecord,
    Import,
    Member,
    Offer,
    Offering,
    VipRange,
    Workload,
)
from clusters.names import ClusterName, ServiceName
from clusters.services import LocalService, Port, ServicePort, TrafficPolicy
from federation.audit import Audit
from gateway.delta import Catalogue
from gateway.history import History
from pki.jwt_keys import SigningKey
from pki.spiffe_bundle import jwt_jwk

DOMAIN = "fed.example"
ONPREM = ClusterName("onprem")
CLOUD = ClusterName("cloud")
VIP_RANGES = (VipRange("241.0.0.0/16"), VipRange("fd5f:ed:6a7e::/112"))
HTTP = Port(8080, "http", app_protocol="http")


def audit() -> Audit:
    """An audit record that nobody writes down: what happens is what is `waiting`."""
    return Audit(Path("nowhere"))


def federation(*, roots: tuple[str, ...] = ()) -> Federation:
    """A federation `fed.example`."""
    return Federation(DOMAIN, roots, VIP_RANGES)


def member(name: ClusterName, *gateways: str, anchors: tuple[str, ...] = ("ANCHOR",)) -> Member:
    """A cluster whose gateways have the given addresses."""
    records = tuple(GatewayRecord(f"gw-{i}", (address,)) for i, address in enumerate(gateways))
    return Member(name, f"{name}.{DOMAIN}", anchors, records)


def jwt_keys(name: ClusterName, now: datetime = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)) -> JwtKeys:
    """One new JWT key of a cluster."""
    return JwtKeys(name, (published(SigningKey.new(now)),))


def foreign(trust_domain: str, *authorities: str, jwt: JwtKeys | None = None) -> TrustBundle:
    """A trust domain outside, known by *authorities* in PEM and the keys of *jwt*."""
    keys = [jwt_jwk(key.id, key.x, key.y) for key in (jwt.keys if jwt else ())]
    return TrustBundle(trust_domain, authorities, tuple(msgspec.json.encode(key).decode() for key in keys))


def weighted(name: str, **weights: int) -> Import:
    """`shop/NAME`, offered by clusters that share calls by *weights*, each with one ready endpoint."""
    offerings = tuple(Offering(ClusterName(c), (HTTP,), 1, weight) for c, weight in sorted(weights.items()))
    made = imported(name)
    return replace(made, offerings=offerings, policy=TrafficPolicy.WEIGHTED)


def imported(name: str, *clusters: ClusterName, index: int = 1, ports: tuple[Port, ...] = (HTTP,)) -> Import:
    """`shop/NAME`, offered by *clusters*, each with one ready endpoint."""
    offerings = tuple(Offering(cluster, ports, 1) for cluster in clusters)
    return Import(ServiceName("shop", name), index, ports, offerings)


def local_service(
    name: str,
    *endpoints: str,
    port: Port = HTTP,
    target: int = 18080,
    health: HealthCheck | None = None,
    down: tuple[str, ...] = (),
) -> LocalService:
    """`shop/NAME`, run here."""
    ports = (ServicePort(port, target),)
    return LocalService(ServiceName("shop", name), ports, endpoints, health=health, down=down)


def workload(name: str, *addresses: str) -> Workload:
    """A caller in namespace `shop`."""
    return Workload("shop", name, addresses)


def view(
    *imports: Import,
    home: ClusterName = ONPREM,
    members: tuple[Member, ...] = (),
    services: tuple[LocalService, ...] = (),
    workloads: tuple[Workload, ...] = (),
) -> ClusterView:
    """What *home* knows."""
    offer = Offer({s.service: s for s in services}, workloads)
    return ClusterView(
        home,
        federation(),
        VIP_RANGES,
        offer,
        {m.name: m for m in members},
        {i.service: i for i in imports},
    )


class Remembering(Catalogue):
    """A catalogue that knows what it was like, as the hub's does of services."""

    def __init__(self, kind: str = "export", most: int = 1_000) -> None:
        super().__init__()
        self._history = History(self, kind, most)

    def since(self, kind: str, digest: str) -> Mapping[str, str | None] | None:
        """What changed since."""
        return self._history.since(digest)
