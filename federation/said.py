"""What clusters say of themselves and of others, as one hub knows it: `hearsay` keeps it in step.

What a cluster has said is as fresh as its connection. When that ends it is kept, with the moment from which
on nobody has said it any more.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Generic, TypeVar

from clusters.names import ClusterName
from federation.errors import ChangesRejected

R = TypeVar("R")


class Said(Generic[R]):
    """All that was said, by cluster and by the name of what it is about; of each cluster at most *most*."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._said: dict[ClusterName, dict[str, R]] = {}
        self._lost: dict[ClusterName, datetime] = {}
        self._heard: set[ClusterName] = set()

    def connected(self, cluster: ClusterName) -> None:
        """What *cluster* has said is what it says: it tells of each difference."""
        self._lost.pop(cluster, None)
        self._heard.add(cluster)

    def lost(self, cluster: ClusterName, now: datetime) -> None:
        """Nothing is heard from *cluster* since *now*. One that has left has nothing to be heard any more."""
        self._heard.discard(cluster)
        if cluster in self._said:
            self._lost[cluster] = now

    def hears(self, cluster: ClusterName) -> bool:
        """Whether *cluster* is connected."""
        return cluster in self._heard

    def hear(self, cluster: ClusterName, changes: Mapping[str, R | None]) -> None:
        """Take in what *cluster* says; None for what it says no more.

        ChangesRejected for more than a cluster may have: then nothing is taken in.
        """
        said = dict(self._said.get(cluster, {}))
        for name, record in changes.items():
            if record is None:
                said.pop(name, None)
            else:
                said[name] = record
        if len(said) > self._most:
            raise ChangesRejected(f"{cluster} tells of more than {self._most} gateways")
        self._said[cluster] = said

    def forget(self, cluster: ClusterName) -> None:
        """*cluster* has left."""
        self._said.pop(cluster, None)
        self._lost.pop(cluster, None)
        self._heard.discard(cluster)

    @property
    def clusters(self) -> tuple[ClusterName, ...]:
        """Those that have said something."""
        return tuple(sorted(self._said))

    def said_by(self, cluster: ClusterName) -> tuple[R, ...]:
        """What is known of *cluster*'s word."""
        return tuple(self._said.get(cluster, {}).values())
