"""A cluster's gateways as its agent minds them: who calls and who dials is sent to those that take calls."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from clusters.model import ClusterView, Offer
from clusters.names import ServiceName
from clusters.reports import EVERY, Phase, Probes, Report, ReportAnswer
from federation.dns.zone import Zone
from federation.fronts import Front, Fronts
from federation.log import Log
from federation.roots import Roots
from federation.sync import records
from gateway.delta import Catalogue, Resource

log = Log(__name__)


class Frontage:
    """Keeps *zone*, which answers callers, and *published*, which the hub hears, in step with them."""

    def __init__(
        self, view: Callable[[], ClusterView], zone: Zone, published: Catalogue, roots: Roots
    ) -> None:
        self._view = view
        self._zone = zone
        self._published = published
        self._roots = roots
        self._fronts = Fronts(now=time.monotonic())

    def all(self) -> tuple[Front, ...]:
        """The gateways that have reported."""
        return self._fronts.all()

    def probes(self) -> tuple[Probes, ...]:
        """What they have found out about other clusters' gateways."""
        return self._fronts.probes()

    def inherit(self, reports: Iterable[Report]) -> None:
        """Start from what another agent has heard."""
        self._fronts = Fronts(reports, time.monotonic())
        self._steer()

    def hear(self, report: Report) -> ReportAnswer:
        """Take in how a gateway is, and send calls elsewhere if it takes none."""
        if self._fronts.hear(report, time.monotonic()):
            log.info("gateway reports", gateway=report.name, phase=report.phase, restarts=report.restarts)
            self._steer()
        self._tell_probes()
        return ReportAnswer(self._fronts.settle(report), self._roots.hash if report.roots else "")

    async def watch(self) -> None:
        """Send calls elsewhere when a gateway falls silent, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            if self._fronts.watch(time.monotonic()):
                silent = [front.report.name for front in self.all() if front.silent]
                log.warning("gateways silent", gateways=", ".join(silent))
                self._steer()
                self._tell_probes()

    def answer(self, services: Iterable[ServiceName]) -> None:
        """Have the name server answer for *services* as they are now."""
        view = self._view()
        self._zone.update(view, services, self._fronts.answered(view.vip_ranges))

    def dialled(self, offer: Offer) -> Mapping[str, Resource]:
        """The gateways that peers may dial."""
        return {g.name: records.encode(g) for g in self._fronts.published(offer.gateways)}

    def behind(self) -> str:
        """Which gateways on other machines do not have the roots that we have, and say so."""
        wanted = self._roots.hash
        here = [front.report for front in self.all() if front.report.phase is not Phase.ENDED]
        behind = [report.name for report in here if report.roots not in ("", wanted)]
        return f"gateways without the new root: {', '.join(behind)}" if behind else ""

    def _tell_probes(self) -> None:
        """Tell the hub what gateways have found out about others; what it was told before goes nowhere."""
        told = {probes.gateway: records.encode(probes) for probes in self.probes()}
        self._published.replace(records.PROBES, told)

    def _steer(self) -> None:
        self.answer(())
        self._published.replace(records.GATEWAY, self.dialled(self._view().offer))
