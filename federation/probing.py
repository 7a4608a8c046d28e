"""What the gateways of each cluster say of the others'."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from clusters.model import MAX_GATEWAYS
from clusters.names import ClusterName
from clusters.reports import Probe, Probes
from federation.said import Said


@dataclass(frozen=True, slots=True)
class Seen:
    """What *gateway* of the cluster *by* has found, and when that was said; None if it is said now."""

    by: ClusterName
    gateway: str
    probe: Probe
    said: datetime | None


class Probing(Said[Probes]):
    """All that was said, by cluster and gateway. For one event loop."""

    def __init__(self) -> None:
        super().__init__(most=MAX_GATEWAYS)

    def of(self, cluster: ClusterName) -> Iterator[Seen]:
        """What all others have found out about the gateways of *cluster*."""
        for by in sorted(self._said):
            if by == cluster:
                continue
            for gateway, probes in sorted(self._said[by].items()):
                for probe in probes.probes:
                    if probe.cluster == cluster:
                        yield Seen(by, gateway, probe, self._lost.get(by))
