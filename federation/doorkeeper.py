"""Who is let in at the hub: a member's agent, by what the registry says at that moment and not before."""

from collections.abc import Callable
from datetime import datetime

from clusters.names import ClusterName
from federation.errors import ClusterEvicted, SyncRefused, UnknownCluster
from federation.registry.members import Members
from federation.registry.records import ClusterRecord
from gateway.rpc import Peer
from pki.authority import from_pem
from pki.bundle import check_svid
from pki.errors import PkiError
from pki.spiffe import agent_id, cluster_of


class Doorkeeper:
    """Tells members' agents from everybody else; raises SyncRefused for who is none."""

    def __init__(self, members: Members, domain: str, now: Callable[[], datetime]) -> None:
        self._members = members
        self._domain = domain
        self._now = now

    async def member(self, peer: Peer) -> ClusterRecord:
        """The record of the cluster whose agent *peer* is."""
        if peer.spiffe_id is None:
            raise SyncRefused("not-an-agent", "the certificate has no SPIFFE ID")
        try:
            cluster = ClusterName(cluster_of(peer.spiffe_id.trust_domain, self._domain))
        except PkiError as error:
            raise SyncRefused("not-an-agent", str(error)) from error
        record = await self.record(cluster)
        self.check(peer, record)
        return record

    async def record(self, cluster: ClusterName) -> ClusterRecord:
        """What the registry says of *cluster*, which must be a member."""
        try:
            return await self._members.get(cluster)
        except ClusterEvicted as error:
            raise evicted(cluster) from error
        except UnknownCluster as error:
            raise SyncRefused("not-a-member", str(error), "join again with a new token") from error

    def check(self, peer: Peer, record: ClusterRecord) -> None:
        """TLS has led the certificate to our root; here it is led to an issuing CA that still counts."""
        anchors = [from_pem(chain)[0] for chain in record.anchors]
        try:
            proven = check_svid(peer.chain, anchors, record.trust_domain, self._now())
        except PkiError as error:
            raise SyncRefused(
                "not-this-cluster",
                f"the certificate is not {record.name}'s as it joined last: {error}",
                "if this cluster was joined again elsewhere, that one counts now",
            ) from error
        if proven != agent_id(record.trust_domain):
            raise SyncRefused("not-an-agent", f"{proven} is not the agent of {record.name}")


def evicted(cluster: ClusterName) -> SyncRefused:
    """What an agent is told whose cluster was shut out."""
    error = ClusterEvicted(cluster)
    return SyncRefused(error.code, str(error), error.hint)
