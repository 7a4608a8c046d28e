"""Which withdrawals are doubted, as the agents say, and which of them somebody has accepted."""

from clusters.names import ClusterName
from clusters.withheld import Withheld
from federation.errors import UnknownCluster
from federation.registry import keyspace
from federation.registry.ledger import Held, Ledger, Plan
from federation.registry.records import AcceptedRecord, ClusterRecord, ClusterState


class Withdrawals:
    """The doubted withdrawals of the registry: one of a cluster at most. All may raise UnknownCluster."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def of(self, cluster: ClusterName) -> Withheld | None:
        """The withdrawal of *cluster* that is doubted, if one is."""
        return (await self._ledger.read(keyspace.withheld(cluster), Withheld)).record

    async def doubt(self, cluster: ClusterName, withheld: Withheld | None) -> bool:
        """Write down which withdrawal of *cluster* is doubted, with None that none is; whether it is news."""

        async def plan() -> Plan[bool]:
            member = await self._member(cluster)
            held = await self._ledger.read(keyspace.withheld(cluster), Withheld)
            accepted = await self._ledger.read(keyspace.accepted(cluster), AcceptedRecord)
            if held.record == withheld and (withheld or accepted.record is None):
                return Plan(False)
            if withheld is None:
                return Plan(True, [held.delete(), accepted.delete()], [member.unchanged])
            return Plan(True, [held.put(withheld)], [member.unchanged])

        return await self._ledger.transact(f"withdrawal of cluster {cluster}", plan)

    async def accept(self, cluster: ClusterName) -> Withheld | None:
        """Have the withdrawal that is doubted be believed: gives it, or None if there is none."""

        async def plan() -> Plan[Withheld | None]:
            member = await self._member(cluster)
            doubted = await self._ledger.read(keyspace.withheld(cluster), Withheld)
            if doubted.record is None:
                return Plan(None)
            accepted = await self._ledger.read(keyspace.accepted(cluster), AcceptedRecord)
            put = accepted.put(AcceptedRecord(doubted.record.since))
            return Plan(doubted.record, [put], [member.unchanged, doubted.unchanged])

        return await self._ledger.transact(f"withdrawal of cluster {cluster}", plan)

    async def _member(self, cluster: ClusterName) -> Held[ClusterRecord]:
        held = await self._ledger.read(keyspace.cluster(cluster), ClusterRecord)
        if held.record is None or held.record.state is not ClusterState.ACTIVE:
            raise UnknownCluster(cluster)
        return held
