"""What the gateways of each cluster say of the others': the hub knows it while it runs, and stores nothing.

What a cluster has said is as fresh as its connection. When that ends it is kept, with the moment from which
on nobody has said it any more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from clusters.model import MAX_GATEWAYS, ClusterName
from clusters.reports import Probe, Probes
from federation.errors import ChangesRejected


@dataclass(frozen=True, slots=True)
class Seen:
    """What *gateway* of the cluster *by* has found, and when that was said; None if it is said now."""

    by: ClusterName
    gateway: str
    probe: Probe
    said: datetime | None


class Probing:
    """All that was said, by cluster and gateway. For one event loop."""

    def __init__(self) -> None:
        self._said: dict[ClusterName, dict[str, Probes]] = {}
        self._lost: dict[ClusterName, datetime] = {}

    def connected(self, cluster: ClusterName) -> None:
        """What *cluster* has said is what it says: it tells of each difference."""
        self._lost.pop(cluster, None)

    def lost(self, cluster: ClusterName, now: datetime) -> None:
        """Nothing is heard from *cluster* since *now*. One that has left has nothing to be heard any more."""
        if cluster in self._said:
            self._lost[cluster] = now

    def hear(self, cluster: ClusterName, changes: Mapping[str, Probes | None]) -> None:
        """Take in what *cluster* says of its gateways' probes; None for a gateway that says nothing.

        ChangesRejected for more gateways than a cluster may have: then nothing is taken in.
        """
        said = dict(self._said.get(cluster, {}))
        for gateway, probes in changes.items():
            if probes is None:
                said.pop(gateway, None)
            else:
                said[gateway] = probes
        if len(said) > MAX_GATEWAYS:
            raise ChangesRejected(f"{cluster} tells of more than {MAX_GATEWAYS} gateways")
        self._said[cluster] = said

    def forget(self, cluster: ClusterName) -> None:
        """*cluster* has left."""
        self._said.pop(cluster, None)
        self._lost.pop(cluster, None)

    def said_by(self, cluster: ClusterName) -> tuple[Probes, ...]:
        """What is known of *cluster*'s word."""
        return tuple(self._said.get(cluster, {}).values())

    def of(self, cluster: ClusterName) -> Iterator[Seen]:
        """What all others have found out about the gateways of *cluster*."""
        for by in sorted(self._said):
            if by == cluster:
                continue
            for gateway, probes in sorted(self._said[by].items()):
                for probe in probes.probes:
                    if probe.cluster == cluster:
                        yield Seen(by, gateway, probe, self._lost.get(by))
