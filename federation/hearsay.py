"""What clusters say, as the registry's mirror tells of it: every hub knows it, whoever heard it.

What a cluster has said is as fresh as its connection, which may be to any hub.
"""

from contextlib import suppress
from urllib.parse import unquote

from clusters.names import ClusterName
from clusters.reports import Anchors, Probes
from clusters.trust import Trust
from federation.anchoring import Anchoring
from federation.errors import ChangesRejected
from federation.probing import Probing
from federation.registry import keyspace
from federation.registry.clusterset import Clusterset
from federation.registry.codec import decode
from federation.registry.sayings import KINDS
from federation.rollover.trusting import Trusting


class Hearsay:
    """All that was said, kept in step with the mirror that has *clusterset*."""

    def __init__(self, clusterset: Clusterset) -> None:
        self._clusterset = clusterset
        self.probing = Probing()
        self.anchoring = Anchoring()
        self.trusting = Trusting()

    def apply(self, key: str, value: bytes | None) -> None:
        """Take in one record, or its deletion; raises UnreadableRecord for one that makes no sense."""
        match keyspace.parts(key):
            case ("said", name, kind, about) if kind in KINDS:
                self._hear(ClusterName(name), kind, unquote(about), key, value)
                self._follow(ClusterName(name))
            case ("clusters" | "alive" | "status", name):
                self._follow(ClusterName(name))

    def _hear(self, cluster: ClusterName, kind: str, about: str, key: str, value: bytes | None) -> None:
        with suppress(ChangesRejected):  # more than a cluster may say is refused before it is written down
            match kind:
                case "probes":
                    self.probing.hear(cluster, {about: decode(key, value, Probes) if value else None})
                case "anchors":
                    self.anchoring.hear(cluster, {about: decode(key, value, Anchors) if value else None})
                case "trust":
                    self.trusting.hear(cluster, {about: decode(key, value, Trust) if value else None})

    def _follow(self, cluster: ClusterName) -> None:
        """See whether *cluster* is connected, or since when it is not, or has left."""
        record, status = self._clusterset.record(cluster), self._clusterset.status(cluster)
        for said in (self.probing, self.anchoring, self.trusting):
            if record is None:
                said.forget(cluster)
            elif self._clusterset.connected(cluster):
                said.connected(cluster)
            else:
                said.lost(cluster, status.last_seen if status else record.joined_at)
