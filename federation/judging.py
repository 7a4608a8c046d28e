"""Which clusters no call is sent to because nobody hears of them: the agent's verdict on each export.

It is judged by what the hub says of other clusters, and by what our own gateways find out about theirs. While
we have no hub ourselves we know nothing of others' absence: then everybody stays as they were last judged,
and after a start without a hub everybody counts. What kept us from the hub may have kept others from it: when
we are back, they have time to come back, too, before one of them is taken out.
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
_HEARING: Final = timedelta(seconds=2)
"""So long after we connected to a hub, what it has to tell may not all be here."""
SETTLE: Final = timedelta(seconds=15)
"""So long after we came back to a hub, others may still be on their way: as long as a hub gives them."""
_STARTING: Final = timedelta(seconds=5)
"""Who finds a hub so soon after the start was not kept from it."""

_UNKNOWN: Final = Judgement("unknown", "this cluster's own hub is away, and nobody else says who is there")

_Key: TypeAlias = tuple[ClusterName, Staleness]


class Judging:
    """The newest verdicts. For one event loop."""

    def __init__(self, home: ClusterName) -> None:
        self._home = home
        self._verdicts: dict[_Key, Judgement] = {}
        self._linked = False
        self._tried: datetime | None = None
        self._since: datetime | None = None
        self._settled: datetime | None = None

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
        self._follow(link)
        if not link.connected or now - link.since < _HEARING:
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
        before, self._verdicts = _out(self._verdicts), {}
        for cluster, contract in contracts:
            known = reach.get(cluster, Reach.UNPROBED)
            judgement = judged(contract, away[cluster], known, hubs_now)
            if self._settled and now < self._settled and (cluster, contract) not in before:
                judgement = _awaited(judgement)
            self._verdicts[cluster, contract] = judgement
        return before != _out(self._verdicts)

    def _follow(self, link: LinkState) -> None:
        """Note when we come back to a hub; the first one that is found soon after the start is no return."""
        self._linked = link.connected
        if not link.connected:
            self._tried = self._tried or link.since
        elif link.since != self._since:
            if self._since or (self._tried and link.since - self._tried >= _STARTING):
                self._settled = link.since + SETTLE
            self._since = link.since

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


def _awaited(judgement: Judgement) -> Judgement:
    """*judgement* of a cluster that may have been kept from the hub as we were."""
    if not judgement.is_out:
        return judgement
    return Judgement("held", f"{judgement.reason}; it has time to come back, as this cluster just did")


def _out(verdicts: Mapping[_Key, Judgement]) -> set[_Key]:
    return {key for key, each in verdicts.items() if each.is_out}
