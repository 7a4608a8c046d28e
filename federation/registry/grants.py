"""Who may export what to whom, who may import it, and where gateways may be: what an operator writes down.

Grants add up, as rights do: what one of them gives none takes away. What no grant speaks of goes by the
defaults. `federation.registry.judge` decides by them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from clusters.errors import InvalidValue
from clusters.names import ClusterName, ServiceName, host, is_address, label

MAX_GRANTS: Final = 500
MAX_PATTERNS: Final = 100
"""How many grants there may be, and how many patterns in each list of one."""

Network: TypeAlias = IPv4Network | IPv6Network

_PART = re.compile(r"[a-z0-9]([-a-z0-9]{0,62})")


class Default(StrEnum):
    """What holds for what no grant speaks of."""

    ALLOW = "allow"
    DENY = "deny"


def cluster_pattern(text: str) -> str:
    """Check a pattern of cluster names: one name, the beginning of names followed by `*`, or `*`."""
    return _part("cluster pattern", text)


def service_pattern(text: str) -> str:
    """Check a pattern of services, `NAMESPACE/NAME`: each a name, the beginning of names and `*`, or `*`."""
    namespace, slash, name = text.partition("/")
    if not slash:
        raise InvalidValue(
            "service pattern", text, "want NAMESPACE/NAME, each with at most one '*' at its end"
        )
    _part("service pattern", namespace)
    _part("service pattern", name)
    return text


def address_pattern(text: str) -> str:
    """Check a pattern of addresses and spell it canonically: a range, an address, a name, `*.` and a name."""
    if "/" in text or is_address(text):
        try:
            return str(ip_network(text))
        except ValueError as error:
            raise InvalidValue("address pattern", text, str(error)) from error
    if text.startswith("*."):
        return f"*.{host(text[2:])}"
    return host(text)


def _part(kind: str, text: str) -> str:
    if text == "*":
        return text
    if not text.endswith("*"):
        return label(kind, text)
    if not _PART.fullmatch(text[:-1]):
        raise InvalidValue(kind, text, "want a name, or its beginning with one '*' at the end")
    return text


def fits(pattern: str, name: str) -> bool:
    """Whether *name* is what *pattern* says: it, or something that begins so."""
    return name == pattern or (pattern[-1:] == "*" and name.startswith(pattern[:-1]))


def service_fits(pattern: str, service: ServiceName) -> bool:
    """Whether *service* is one that *pattern* speaks of."""
    namespace, name = _parts(pattern)
    return fits(namespace, service.namespace) and fits(name, service.name)


@lru_cache(maxsize=MAX_GRANTS * MAX_PATTERNS)
def _parts(pattern: str) -> tuple[str, str]:
    namespace, _, name = pattern.partition("/")
    return namespace, name


@lru_cache(maxsize=4096)
def network(pattern: str) -> Network | None:
    """The range that an address pattern names; None for one of DNS names."""
    return ip_network(pattern) if "/" in pattern else None


def name_fits(pattern: str, name: str) -> bool:
    """Whether an address pattern speaks of the DNS name *name*."""
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def address_fits(pattern: str, address: str) -> bool:
    """Whether an address pattern speaks of the IP address *address*."""
    block, parsed = network(pattern), ip_address(address)
    return block is not None and block.version == parsed.version and parsed in block


@dataclass(frozen=True, slots=True)
class Grant:
    """What some clusters may do. Every field but the name is a list of patterns.

    `exports` are services that *clusters* may export, to those that `to` names; `imports` are services that
    they may import; `addresses` are where their gateways may be reached.
    """

    name: str
    clusters: tuple[str, ...]
    exports: tuple[str, ...] = ()
    to: tuple[str, ...] = ("*",)
    imports: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        label("grant", self.name)
        for check, patterns in (
            (cluster_pattern, (*self.clusters, *self.to)),
            (service_pattern, (*self.exports, *self.imports)),
        ):
            for pattern in patterns:
                check(pattern)
        object.__setattr__(self, "addresses", tuple(address_pattern(text) for text in self.addresses))
        for patterns in (self.clusters, self.exports, self.to, self.imports, self.addresses):
            if len(patterns) > MAX_PATTERNS:
                raise InvalidValue("grant", self.name, f"has a list of more than {MAX_PATTERNS} patterns")
        if not self.clusters:
            raise InvalidValue("grant", self.name, "names no clusters")
        if not (self.exports or self.imports or self.addresses):
            raise InvalidValue("grant", self.name, "gives nothing: want exports, imports or addresses")
        if not self.to:
            raise InvalidValue("grant", self.name, "exports to nobody; leave `to` out for everybody")

    def names(self, cluster: ClusterName) -> bool:
        """Whether it is about *cluster*."""
        return any(fits(pattern, cluster) for pattern in self.clusters)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for exports, imports and addresses of which no grant speaks."""

    exports: Default = Default.ALLOW
    imports: Default = Default.ALLOW
    addresses: Default = Default.ALLOW


@dataclass(frozen=True, slots=True)
class Limits:
    """How much each cluster may have at the hub, and how fast it may change it.

    `services` and `bytes` are of all its exports together; `changes_per_second` is what it may do for long:
    it may do as many at once as it may have services.
    """

    services: int = 20_000
    bytes: int = 16 << 20
    changes_per_second: int = 500

    def __post_init__(self) -> None:
        for what, value in (
            ("services", self.services),
            ("bytes", self.bytes),
            ("changesPerSecond", self.changes_per_second),
        ):
            if not 1 <= value <= 1 << 40:
                raise InvalidValue(f"limit of {what}", value, "want 1 or more")


@dataclass(frozen=True, slots=True)
class Grants:
    """All that an operator has written down: the defaults, the limits, and the grants, by name."""

    defaults: Defaults = Defaults()
    limits: Limits = Limits()
    grants: tuple[Grant, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.grants) > MAX_GRANTS:
            raise InvalidValue("grants", len(self.grants), f"want {MAX_GRANTS} at most")
        names = [grant.name for grant in self.grants]
        if twice := _twice(names):
            raise InvalidValue("grant", twice, "is given twice")
        object.__setattr__(self, "grants", tuple(sorted(self.grants, key=lambda grant: grant.name)))

    def get(self, name: str) -> Grant | None:
        """The grant of that name."""
        return next((grant for grant in self.grants if grant.name == name), None)


def _twice(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
