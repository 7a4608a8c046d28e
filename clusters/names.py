"""What clusters, services and hosts are called: names and addresses that are checked."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NewType

from clusters.errors import InvalidName, InvalidValue

ClusterName = NewType("ClusterName", str)
CLUSTERSET_DOMAIN = "clusterset.local"
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


def canonical_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
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


def port_number(number: int) -> int:
    """Check that *number* can be a port."""
    if not 1 <= number <= 65535:
        raise InvalidValue("port", number, "want 1-65535")
    return number
