"""Which gateway of which cluster has acknowledged which issuing CAs.

An agent tells of each of its gateways what that has confirmed, and of itself what it would give one that
asked now.
"""

from collections.abc import Iterable, Iterator

from clusters.model import MAX_GATEWAYS
from clusters.names import ClusterName
from clusters.reports import Anchors
from federation.issuance.messages import Lagging
from federation.said import Said


class Anchoring(Said[Anchors]):
    """All that was said, by cluster and gateway. For one event loop."""

    def __init__(self) -> None:
        super().__init__(most=MAX_GATEWAYS + 1)

    def holders(self, of: ClusterName) -> Iterator[tuple[ClusterName, str]]:
        """The gateways of other clusters that may believe the cluster *of*, by cluster and name."""
        for cluster in self.clusters:
            for each in self.said_by(cluster):
                if cluster != of and each.gateway and of in each.anchors:
                    yield cluster, each.gateway.partition("/")[0]

    def lagging(self, of: ClusterName, anchor: str, clusters: Iterable[ClusterName]) -> Iterator[Lagging]:
        """Everybody in *clusters* who has not acknowledged *anchor*, an issuing CA of the cluster *of*.

        A gateway that has no use for the cluster's anchors needs none; when it has, it is given the newest
        that its agent has.
        """
        for cluster in sorted(clusters):
            said = self.said_by(cluster)
            if not self.hears(cluster):
                yield Lagging(cluster, "", "its agent is not connected to the hub")
                continue
            if not any(not each.gateway for each in said):
                yield Lagging(cluster, "", "its agent has not said yet what it has")
            for each in said:
                if of in each.anchors and anchor not in each.anchors[of]:
                    yield Lagging(cluster, each.gateway, "it has not acknowledged the new issuing CA")
                elif not each.gateway and of not in each.anchors:
                    yield Lagging(cluster, "", f"its agent knows nothing of {of} yet")
