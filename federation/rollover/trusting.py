"""Which roots each cluster's agent trusts."""

from clusters.names import ClusterName
from clusters.trust import Trust
from federation.said import Said


class Trusting(Said[Trust]):
    """What every agent has said of its roots, in the one record that it has of them. For one event loop."""

    def __init__(self) -> None:
        super().__init__(most=1)

    def of(self, cluster: ClusterName) -> Trust | None:
        """What *cluster* has said last."""
        return next(iter(self.said_by(cluster)), None)
