"""What a gateway says of itself: its name, its roles, and where it listens.

It travels as the metadata of Envoy's node, from the bootstrap file to the agent, so what arrives is
checked like any other input.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from clusters.errors import ClusterError
from clusters.model import GatewayRecord
from gateway.errors import InvalidSpec

INGRESS_PORT: Final = 15008
CAPTURE_PORT: Final = 15001
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 (an ingress's peers are elsewhere)
_METADATA: Final = "fedgate"
_MAX_ADDRESSES: Final = 64
_CONNECTIONS: Final = 50_000
_MOST_CONNECTIONS: Final = 1_000_000


class Role(StrEnum):
    """What a gateway is for."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Capture(StrEnum):
    """How calls to a VIP reach the egress.

    ANYIP: a route makes the whole range local, so one wildcard listener per port number takes all;
    only in a network namespace of the gateway's own. REDIRECT: the packet filter leads the range to
    one port, from which the kernel tells where a call was going. LOOPBACK: each VIP is an address of
    the host (127.x), and has listeners of its own.
    """

    ANYIP = "anyip"
    REDIRECT = "redirect"
    LOOPBACK = "loopback"


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """One gateway, as it describes itself.

    `ingress_addresses` are those that the ingress binds; `access_log` is the path at the gateway
    of the log of incoming calls, or None; `ipv6` is whether its kernel knows IPv6 at all;
    `capture_port` is where redirected calls arrive; `max_connections` is how many it takes at a time;
    `tunnel_log` is the path of what it reads itself of whose connections are, or None.
    """

    name: str
    roles: frozenset[Role]
    capture: Capture = Capture.ANYIP
    ingress_addresses: tuple[str, ...] = EVERYWHERE
    ingress_port: int = INGRESS_PORT
    access_log: str | None = None
    ipv6: bool = True
    capture_port: int = CAPTURE_PORT
    max_connections: int = _CONNECTIONS
    tunnel_log: str | None = None

    def __post_init__(self) -> None:
        if not self.roles:
            raise InvalidSpec("roles", "want ingress, egress or both")
        if not 1 <= len(self.ingress_addresses) <= _MAX_ADDRESSES:
            raise InvalidSpec("ingress addresses", f"want 1 to {_MAX_ADDRESSES}")
        if not 1 <= self.max_connections <= _MOST_CONNECTIONS:
            raise InvalidSpec("connections", f"want 1 to {_MOST_CONNECTIONS}")
        try:  # the same rules as for a gateway that others dial
            record = GatewayRecord(self.name, self.ingress_addresses, self.ingress_port)
        except ClusterError as error:
            raise InvalidSpec("name, addresses or port", str(error)) from error
        if not 1 <= self.capture_port <= 65535 or self.capture_port == self.ingress_port:
            raise InvalidSpec("capture port", "want 1-65535, and another than the ingress's")
        if record.has_names:
            raise InvalidSpec("ingress addresses", "want IP addresses to bind, not names")
        if any("%" in address for address in record.addresses):
            raise InvalidSpec("ingress addresses", "have a zone, with which Envoy cannot bind")
        object.__setattr__(self, "ingress_addresses", record.addresses)

    @property
    def is_ingress(self) -> bool:
        """Whether other clusters' gateways dial it."""
        return Role.INGRESS in self.roles

    @property
    def is_egress(self) -> bool:
        """Whether workloads call through it."""
        return Role.EGRESS in self.roles


def without_ipv6(spec: GatewaySpec) -> GatewaySpec:
    """*spec* on a machine whose kernel has no IPv6: what cannot be bound there is not asked for.

    Envoy refuses a listener as a whole when one of its addresses is impossible.
    """
    possible = tuple(address for address in spec.ingress_addresses if ip_address(address).version == 4)
    if spec.is_ingress and not possible:
        raise InvalidSpec("ingress addresses", "all are IPv6, which this machine does not have")
    return replace(spec, ipv6=False, ingress_addresses=possible or ("0.0.0.0",))  # noqa: S104


def to_metadata(spec: GatewaySpec) -> Struct:
    """Put *spec* into the metadata of a node."""
    metadata = Struct()
    metadata.update(
        {
            _METADATA: {
                "name": spec.name,
                "roles": sorted(spec.roles),
                "capture": spec.capture,
                "ingress_addresses": list(spec.ingress_addresses),
                "ingress_port": spec.ingress_port,
                "access_log": spec.access_log,
                "ipv6": spec.ipv6,
                "capture_port": spec.capture_port,
                "max_connections": spec.max_connections,
                "tunnel_log": spec.tunnel_log,
            }
        }
    )
    return metadata


def from_metadata(metadata: Struct) -> GatewaySpec:
    """Undo `to_metadata`; raise InvalidSpec for a node that is no gateway of ours."""
    try:
        whole: dict[str, object] = MessageToDict(metadata)
    except (JsonError, ValueError) as error:  # a number that is none
        raise InvalidSpec("metadata", str(error)) from error
    said = whole.get(_METADATA)
    if not isinstance(said, dict):
        raise InvalidSpec("metadata", f"has no {_METADATA!r}; was this Envoy started by fedgate?")
    roles, addresses = said.get("roles"), said.get("ingress_addresses")
    if not isinstance(roles, list) or not isinstance(addresses, list):
        raise InvalidSpec("metadata", "roles and ingress_addresses are lists")
    try:
        return GatewaySpec(
            name=str(said.get("name")),
            roles=frozenset(Role(str(role)) for role in roles),
            capture=Capture(str(said.get("capture"))),
            ingress_addresses=tuple(str(address) for address in addresses),
            ingress_port=_whole(said, "ingress_port", INGRESS_PORT),
            access_log=_path(said, "access_log"),
            ipv6=said.get("ipv6") is not False,
            capture_port=_whole(said, "capture_port", CAPTURE_PORT),
            max_connections=_whole(said, "max_connections", _CONNECTIONS),
            tunnel_log=_path(said, "tunnel_log"),
        )
    except ValueError as error:
        raise InvalidSpec("metadata", str(error)) from error


def _path(said: dict[object, object], field: str) -> str | None:
    """A path, of a file that a gateway need not have."""
    path = said.get(field)
    if path is not None and not isinstance(path, str):
        raise InvalidSpec(field, "want a path")
    return path


def _whole(said: dict[object, object], field: str, default: int) -> int:
    """A number, which a gateway older than the field does not give."""
    number = said.get(field, default)
    if not isinstance(number, float | int) or number != int(number):
        raise InvalidSpec(field, "want a whole number")
    return int(number)
