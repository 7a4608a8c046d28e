"""Which clusters no call is sent to because nobody hears of them: the agent's verdict on each export.

It is judged by what the hub says of other clusters, and by what our own gateways find out about theirs. While
we have no hub ourselves we know nothing of others' absence: then everybody stays as they were last judged,
and after a start without a hub everybody counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from clusters.model import Import, Member, Offering
from clusters.names import ClusterName, ServiceName
from clusters.reports import Probes
from clusters.staleness import CONNECTED, Judgement, Reach, Staleness, judged, reached
from federation.sync.client import LinkState

TICK: Final = 0.5
_SETTLE: Final = timedelta(seconds=2)
"""So long after we came back to a hub, what it has to tell may not all be here."""

_UNKNOWN: Final = Judgement("unknown", "this cluster's own hub is away, and nobody else says who is there")

_Key: TypeAlias = tuple[ClusterName, Staleness]


class Judging:
    """The newest verdicts. For one event loop."""

    def __init__(self, home: ClusterName) -> None:
        self._home = home
        self._verdicts: dict[_Key, Judgement] = {}
        self._linked = False

    def look(
        self,
        members: Mapping[ClusterName, Member],
        imports: Mapping[ServiceName, Import],
        probes: Iterable[Probes],
        link: LinkState,
        now: datetime,
    ) -> bool:
        """Judge anew; says whether some cluster is out of rotation or back for some service.

        *members* and *imports* are as the hub tells them, *probes* what our gateways have found, and *link*
        how we are connected ourselves.
        """
        self._linked = link.connected
        if not link.connected or now - link.since < _SETTLE:
            return False
        away = {m.name: m.away for m in members.values() if m.away and m.name != self._home}
        if not away and not self._verdicts:
            return False
        reach = _reach(probes)
        hubs_now = now + timedelta(seconds=link.clock_skew)
        contracts = {
            (offering.cluster, offering.staleness)
            for imported in imports.values()
            for offering in imported.offerings
            if offering.cluster in away
        }
        before, self._verdicts = self._verdicts, {}
        for cluster, contract in contracts:
            known = reach.get(cluster, Reach.UNPROBED)
            self._verdicts[cluster, contract] = judged(contract, away[cluster], known, hubs_now)
        return _out(before) != _out(self._verdicts)

    def judged(self, imported: Import) -> Import:
        """*imported* without ready endpoints in the clusters that are out."""
        if not any(self._of(offering).is_out for offering in imported.offerings):
            return imported
        offerings = (replace(o, ready_endpoints=0) if self._of(o).is_out else o for o in imported.offerings)
        return replace(imported, offerings=tuple(offerings))

    def told(self, offering: Offering) -> Judgement:
        """What there is to say of *offering*'s cluster."""
        if not self._linked and offering.cluster != self._home:
            known = self._of(offering)
            return known if known.is_out else _UNKNOWN
        return self._of(offering)

    def _of(self, offering: Offering) -> Judgement:
        return self._verdicts.get((offering.cluster, offering.staleness), CONNECTED)


def _reach(probes: Iterable[Probes]) -> Mapping[ClusterName, Reach]:
    """What is known of each cluster's gateways."""
    found: dict[ClusterName, list[bool]] = {}
    for probe in (probe for each in probes for probe in each.probes):
        found.setdefault(ClusterName(probe.cluster), []).append(probe.up)
    return {cluster: reached(up) for cluster, up in found.items()}


def _out(verdicts: Mapping[_Key, Judgement]) -> set[_Key]:
    return {key for key, each in verdicts.items() if each.is_out}
