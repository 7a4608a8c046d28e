"""Which roots each cluster's agent trusts: the hub hears of it, and stores nothing.

What an agent has said is as fresh as its connection.
"""

from collections.abc import Mapping
from datetime import datetime

from clusters.model import ClusterName
from clusters.trust import Trust


class Trusting:
    """What every agent has said of its roots. For one event loop."""

    def __init__(self) -> None:
        self._said: dict[ClusterName, Trust] = {}
        self._connected: set[ClusterName] = set()

    def connected(self, cluster: ClusterName) -> None:
        """*cluster* is there; it tells of each difference."""
        self._connected.add(cluster)

    def lost(self, cluster: ClusterName, _: datetime) -> None:
        """Nothing is heard from *cluster* any more."""
        self._connected.discard(cluster)

    def hears(self, cluster: ClusterName) -> bool:
        """Whether *cluster* is connected."""
        return cluster in self._connected

    def hear(self, cluster: ClusterName, changes: Mapping[str, Trust | None]) -> None:
        """Take in what *cluster* says."""
        for said in changes.values():
            if said is None:
                self._said.pop(cluster, None)
            else:
                self._said[cluster] = said

    def forget(self, cluster: ClusterName) -> None:
        """*cluster* has left."""
        self._said.pop(cluster, None)
        self._connected.discard(cluster)

    def said_by(self, cluster: ClusterName) -> Trust | None:
        """What *cluster* has said last."""
        return self._said.get(cluster)
