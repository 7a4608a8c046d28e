"""Which gateways calls are sent to: as they report themselves, and as they fall silent.

Callers find an egress by the VIPs that DNS answers, and each range of VIPs leads to one gateway or to all. So
calls are moved from one gateway to another by answering with the VIPs of others: no route changes, and what
is open stays where it is. Peers find an ingress by what this cluster publishes. A gateway that drains, fails
or falls silent is taken out of both, unless that would leave nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from clusters.model import GatewayRecord, VipRange
from clusters.reports import Phase, Probe, Probes, Report
from federation.dns.authority import TTL

SILENT_AFTER: Final = 3.0
SETTLE: Final = TTL + 1.0
"""Answers of DNS that were given before are used for so long; peers are told sooner."""


@dataclass(frozen=True, slots=True)
class Front:
    """A gateway that has reported, and when it did last."""

    report: Report
    heard: float
    since: float
    silent: bool = False

    @property
    def takes_calls(self) -> bool:
        """Whether new calls may be sent to it."""
        return self.report.phase is Phase.UP and not self.silent

    @property
    def is_egress(self) -> bool:
        """Whether workloads call through it."""
        return "egress" in self.report.serves


class Fronts:
    """This cluster's gateways that have reported, by name and roles. *now* is always the same clock's."""

    def __init__(self, reports: Iterable[Report] = (), now: float = 0.0) -> None:
        self._fronts = {report.key: Front(report, now, now) for report in reports}
        self._watched = now

    def all(self) -> tuple[Front, ...]:
        """Everyone who has reported."""
        return tuple(self._fronts.values())

    def hear(self, report: Report, now: float) -> bool:
        """Take a report in; says whether calls go elsewhere because of it."""
        before = self._fronts.get(report.key)
        same = before is not None and before.report.phase is report.phase and not before.silent
        since = before.since if before is not None and same else now
        self._fronts[report.key] = front = Front(report, now, since)
        if before is None:
            return not front.takes_calls or bool(report.vip_ranges)
        return before.takes_calls != front.takes_calls or before.report.vip_ranges != report.vip_ranges

    def watch(self, now: float) -> bool:
        """Note who has fallen silent; says whether calls go elsewhere because of it. Call it every second.

        A watch that comes late was held up, and those who reported meanwhile may not have been heard yet.
        """
        late = max(0.0, now - self._watched - 1.5)
        self._watched = now
        changed = False
        for key, front in self._fronts.items():
            heard = front.heard + late
            silent = now - heard > SILENT_AFTER and front.report.phase is not Phase.ENDED
            changed |= silent and front.takes_calls
            since = now if silent and not front.silent else front.since
            self._fronts[key] = replace(front, heard=heard, silent=front.silent or silent, since=since)
        return changed

    def answered(self, ranges: tuple[VipRange, ...]) -> tuple[VipRange, ...]:
        """Those of *ranges* that lead to an egress that takes calls; all of them if none is known to."""
        live = [front.report for front in self._fronts.values() if front.takes_calls and front.is_egress]
        if any(not report.vip_ranges for report in live):
            return ranges
        led = {cidr for report in live for cidr in report.vip_ranges}
        return tuple(vips for vips in ranges if vips.cidr in led) or ranges

    def published(self, gateways: tuple[GatewayRecord, ...]) -> tuple[GatewayRecord, ...]:
        """Those of *gateways* that peers are to dial: not those that take no calls, if others are left."""
        ingresses = [front for front in self._fronts.values() if "ingress" in front.report.serves]
        out = {front.report.name for front in ingresses if not front.takes_calls}
        return tuple(gateway for gateway in gateways if gateway.name not in out) or gateways

    def settle(self, leaving: Report) -> float:
        """How many seconds a gateway that drains shall still take calls: none if nobody else will."""
        others = [front.report for front in self._fronts.values() if front.takes_calls]
        another = any(other.serves & leaving.serves for other in others if other.key != leaving.key)
        return SETTLE if another else 0.0

    def probes(self) -> tuple[Probes, ...]:
        """What those that are heard of have found out about other gateways."""
        found: dict[str, tuple[Probe, ...]] = {}
        for front in self._fronts.values():
            if front.is_egress and front.takes_calls:
                found[front.report.name] = found.get(front.report.name, ()) + front.report.probes
        return tuple(Probes(gateway, probes) for gateway, probes in found.items())
