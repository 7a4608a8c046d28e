"""Decides by the grants: pure, and each decision with what it goes by.

Addresses that mean another machine to everybody who dials them are never a gateway's without a grant that
speaks of nothing else: loopback and link-local. Those that are no host's at all are nobody's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain
from typing import Final

from clusters.model import VipRange
from clusters.names import ClusterName, ServiceName, is_address
from federation.registry.grants import (
    Default,
    Grant,
    Grants,
    Network,
    address_fits,
    fits,
    name_fits,
    network,
    service_fits,
)

BY_DEFAULT: Final = "default"

_LOOPBACK: Final = "loopback"
_SPECIAL: Final = (
    (_LOOPBACK, (ip_network("127.0.0.0/8"), ip_network("::1/128"))),
    ("link-local", (ip_network("169.254.0.0/16"), ip_network("fe80::/10"))),
)
_NOBODYS: Final = (ip_network("0.0.0.0/8"), ip_network("255.255.255.255/32"), ip_network("::/128"))


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision: what it goes by, the name of a grant or `default`, and if it is no, why."""

    granted: bool
    by: str = BY_DEFAULT
    reason: str = ""

    def __bool__(self) -> bool:
        return self.granted


@dataclass(frozen=True, slots=True)
class Rule:
    """Who has an export: whether it is *granted*, and patterns of those who may have it and may import it.

    None for either is everybody. While the rule of an export is equal, so is what is decided, for anybody.
    """

    granted: bool = True
    to: tuple[str, ...] | None = None
    imports: tuple[str, ...] | None = None

    def is_for(self, importer: ClusterName) -> bool:
        """Whether a cluster that is not the exporter has it."""
        return self.granted and all(
            patterns is None or any(fits(pattern, importer) for pattern in patterns)
            for patterns in (self.to, self.imports)
        )


_YES: Final = Ruling(True)
_OPEN: Final = Rule()
_MOST_REMEMBERED: Final = 100_000


class Judge:
    """Decides by *grants* among *members*.

    With *one_machine* all of them run on one machine, and loopback is the same place for everybody.
    """

    def __init__(
        self,
        grants: Grants,
        members: Iterable[ClusterName] = (),
        vip_ranges: Sequence[VipRange] = (),
        *,
        one_machine: bool = False,
    ) -> None:
        self.grants = grants
        self._members = frozenset(members)
        self._ranges = tuple(vip_ranges)
        self._vip_ranges = tuple(ip_network(block.cidr) for block in vip_ranges)
        self._one_machine = one_machine
        self._of: dict[ClusterName, tuple[Grant, ...]] = {}
        # What was decided is remembered: it is asked for each service, for each of many clusters.
        self._rules: dict[tuple[ClusterName, ServiceName], Rule] = {}
        self._seen: dict[tuple[ClusterName, Rule], bool] = {}
        self._audiences: dict[Rule, frozenset[ClusterName]] = {}

    def by(self, grants: Grants) -> "Judge":
        """One who decides by *grants*, among the same members."""
        return Judge(grants, self._members, self._ranges, one_machine=self._one_machine)

    def among(self, members: Iterable[ClusterName]) -> "Judge":
        """One who decides by the same grants among *members*, and remembers what does not depend on those."""
        made = Judge(self.grants, members, self._ranges, one_machine=self._one_machine)
        made._of, made._rules, made._seen = self._of, self._rules, self._seen
        return made

    @property
    def restricts_callers(self) -> bool:
        """Whether some service may not be called by everybody."""
        defaults = self.grants.defaults
        return Default.DENY in (defaults.exports, defaults.imports)

    def export(self, cluster: ClusterName, service: ServiceName) -> Ruling:
        """Whether *cluster* may export *service*, to whomever."""
        for grant in self._grants_of(cluster):
            if _speaks_of(grant.exports, service):
                return Ruling(True, grant.name)
        return _default(self.grants.defaults.exports, f"no grant lets {cluster} export {service}")

    def passes(self, exporter: ClusterName, service: ServiceName, importer: ClusterName) -> Ruling:
        """Whether what *exporter* has of *service* is for *importer*, whatever that one may import."""
        if importer == exporter:
            return self.export(exporter, service)
        told = ""
        for grant in self._grants_of(exporter):
            if not _speaks_of(grant.exports, service):
                continue
            if any(fits(pattern, importer) for pattern in grant.to):
                return Ruling(True, grant.name)
            told = told or grant.name
        reason = f"no grant lets {exporter} export {service} to {importer}"
        return _default(self.grants.defaults.exports, reason, told or BY_DEFAULT)

    def import_(self, cluster: ClusterName, service: ServiceName) -> Ruling:
        """Whether *cluster* may import *service* from others."""
        for grant in self._grants_of(cluster):
            if _speaks_of(grant.imports, service):
                return Ruling(True, grant.name)
        return _default(self.grants.defaults.imports, f"no grant lets {cluster} import {service}")

    def rule(self, exporter: ClusterName, service: ServiceName) -> Rule:
        """By what it is decided who has what *exporter* exports of *service*."""
        if not self.restricts_callers:
            return _OPEN
        found = self._rules.get((exporter, service))
        if found is None:
            if len(self._rules) >= _MOST_REMEMBERED:
                self._rules.clear()
            found = self._rules[exporter, service] = self._ruled(exporter, service)
        return found

    def sees(self, importer: ClusterName, exporter: ClusterName, service: ServiceName) -> bool:
        """Whether *importer* has what *exporter* exports of *service*, whoever else is a member."""
        rule = self.rule(exporter, service)
        if importer == exporter or not rule.granted:
            return rule.granted
        found = self._seen.get((importer, rule))
        if found is None:
            found = self._seen[importer, rule] = rule.is_for(importer)
        return found

    def audience(self, exporter: ClusterName, service: ServiceName) -> frozenset[ClusterName] | None:
        """Which members may import, and call, what *exporter* has of *service*: None for all of them."""
        rule = self.rule(exporter, service)
        if rule == _OPEN or not rule.granted:
            return None if rule.granted else frozenset()
        told = self._audiences.get(rule)
        if told is None:
            told = self._audiences[rule] = frozenset(m for m in self._members if rule.is_for(m))
        if exporter not in told:
            told |= {exporter}
        return None if len(told) >= len(self._members) else told

    def _ruled(self, exporter: ClusterName, service: ServiceName) -> Rule:
        granted, to, imports = True, None, None
        if self.grants.defaults.exports is Default.DENY:
            exports = [g.to for g in self._grants_of(exporter) if _speaks_of(g.exports, service)]
            granted, to = bool(exports), tuple(sorted(set(chain.from_iterable(exports))))
        if self.grants.defaults.imports is Default.DENY:
            importing = [g.clusters for g in self.grants.grants if _speaks_of(g.imports, service)]
            imports = tuple(sorted(set(chain.from_iterable(importing))))
        return Rule(granted, to, imports)

    def address(self, cluster: ClusterName, address: str) -> Ruling:
        """Whether a gateway of *cluster* may be reached at *address*, an IP address or a DNS name."""
        patterns = [(g.name, p) for g in self._grants_of(cluster) for p in g.addresses]
        if not is_address(address):
            return self._name(cluster, address, patterns)
        parsed = ip_address(address)
        if why := self._nobodys(parsed):
            return Ruling(False, reason=f"{address} {why}")
        special = next(((kind, blocks) for kind, blocks in _SPECIAL if _within(parsed, blocks)), None)
        for name, pattern in patterns:
            if address_fits(pattern, address) and (special is None or _lies_in(pattern, special[1])):
                return Ruling(True, name)
        if special is None:
            return self._by_default(cluster, address)
        if special[0] == _LOOPBACK and self._one_machine:
            return _YES
        return _elsewhere(address, special[0])

    def _name(self, cluster: ClusterName, name: str, patterns: Iterable[tuple[str, str]]) -> Ruling:
        for grant, pattern in patterns:
            if name_fits(pattern, name):
                return Ruling(True, grant)
        if name == "localhost" or name.endswith(".localhost"):
            if self._one_machine:
                return _YES
            return _elsewhere(name, _LOOPBACK)
        return self._by_default(cluster, name)

    def _by_default(self, cluster: ClusterName, address: str) -> Ruling:
        return _default(
            self.grants.defaults.addresses, f"no grant lets a gateway of {cluster} be at {address}"
        )

    def _nobodys(self, address: IPv4Address | IPv6Address) -> str:
        """Why *address* can be no gateway's at all; empty if it can."""
        if address.is_multicast:
            return "is multicast"
        if _within(address, _NOBODYS):
            return "is no host's address"
        if _within(address, self._vip_ranges):
            return "is in the VIP range, whose addresses are services'"
        return ""

    def _grants_of(self, cluster: ClusterName) -> tuple[Grant, ...]:
        found = self._of.get(cluster)
        if found is None:
            found = self._of[cluster] = tuple(g for g in self.grants.grants if g.names(cluster))
        return found


def _default(default: Default, reason: str, by: str = BY_DEFAULT) -> Ruling:
    """What holds where no grant decides: if it is a no, for *reason*."""
    return _YES if default is Default.ALLOW else Ruling(False, by, reason)


def _speaks_of(patterns: Iterable[str], service: ServiceName) -> bool:
    return any(service_fits(pattern, service) for pattern in patterns)


def _within(address: IPv4Address | IPv6Address, blocks: Iterable[Network]) -> bool:
    return any(address.version == block.version and address in block for block in blocks)


def _lies_in(pattern: str, blocks: Iterable[Network]) -> bool:
    """Whether an address pattern speaks of nothing outside of *blocks*."""
    block = network(pattern)
    return block is not None and any(
        block.version == each.version and block[0] in each and block[-1] in each for each in blocks
    )


def _elsewhere(address: str, kind: str) -> Ruling:
    return Ruling(False, reason=f"{address} is {kind}, another place for each that dials it")
