"""What each cluster offers: its exports and its gateways, and the VIP index of every service."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from clusters.model import MAX_GATEWAYS, Export, GatewayRecord
from clusters.names import ClusterName, ServiceName
from federation.errors import ChangesRejected, UnknownCluster
from federation.registry import keyspace
from federation.registry.drafts import Known, draft
from federation.registry.ledger import Ledger, Plan, everything, slices
from federation.registry.records import (
    ClusterRecord,
    ClusterState,
    ExportRecord,
    FreedIndex,
    NextIndex,
    ServiceRecord,
)
from federation.registry.store import Compare, Delete

SERVICES_AT_ONCE = 24
"""How many services go into one transaction: each may take four operations, and one is for them all."""

GATEWAYS_AT_ONCE = 24


class Offers:
    """The exports and gateways of the registry; *capacity* is how many services have an address.

    *turn* is held while an index is given: whoever has the same store in this process has the same.
    """

    def __init__(self, ledger: Ledger, capacity: int, turn: asyncio.Lock) -> None:
        self._ledger = ledger
        self.capacity = capacity
        self._turn = turn

    async def exports(self, cluster: ClusterName) -> list[Export]:
        """What *cluster* exports, as it is written down."""
        held = await self._ledger.list(keyspace.exports(cluster), ExportRecord)
        return [one.record.export for one in held if one.record]

    async def gateways(self, cluster: ClusterName) -> list[GatewayRecord]:
        """The gateways of *cluster*, as they are written down."""
        held = await self._ledger.list(keyspace.gateways(cluster), GatewayRecord)
        return [one.record for one in held if one.record]

    async def set_exports(
        self, cluster: ClusterName, changed: Mapping[ServiceName, Export | None], now: datetime
    ) -> None:
        """Write down the exports of *cluster* that are new or different; `None` for one that is gone.

        A service keeps the time of its first export there, by the hub's clock, and its VIP index. A
        new one gets an index, and one that lost its last exporter gives its own up, in the same
        transaction. Many services take several transactions.
        """
        for some in slices(changed.items(), SERVICES_AT_ONCE):
            await self._set(cluster, dict(some), now, ClusterState.ACTIVE)

    async def set_gateways(self, cluster: ClusterName, changed: Mapping[str, GatewayRecord | None]) -> None:
        """Write down the gateways of *cluster* that are new or different; `None` for one that is gone.

        `ChangesRejected` for more than a cluster may have: then nothing is written down.
        """
        held = {gateway.name for gateway in await self.gateways(cluster)}
        left = (held | changed.keys()) - {name for name, record in changed.items() if record is None}
        if len(left) > MAX_GATEWAYS:
            raise ChangesRejected(f"{cluster} has more than {MAX_GATEWAYS} gateways")
        for some in slices(changed.items(), GATEWAYS_AT_ONCE):
            await self._set_gateways(cluster, dict(some))

    async def withdraw_all(self, cluster: ClusterName, now: datetime) -> None:
        """Remove all that is under the name of a *cluster* that is leaving.

        `UnknownCluster` when it is no longer leaving: what is there then is not ours to remove.
        """
        prefix = keyspace.exports(cluster)
        exported = [item.key.removeprefix(prefix) async for item in everything(self._ledger.store, prefix)]
        for some in slices(exported, SERVICES_AT_ONCE):
            gone = {ServiceName.parse(name): None for name in some}
            await self._set(cluster, gone, now, ClusterState.LEAVING)
        for rest in (keyspace.gateways(cluster), keyspace.said(cluster)):
            left = [item.key async for item in everything(self._ledger.store, rest)]
            for keys in slices(left, GATEWAYS_AT_ONCE):
                leaving = await self._still(cluster, ClusterState.LEAVING)
                await self._ledger.store.commit([Delete(key) for key in keys], [leaving])

    async def _set(
        self,
        cluster: ClusterName,
        changed: Mapping[ServiceName, Export | None],
        now: datetime,
        state: ClusterState,
    ) -> None:
        async def plan() -> Plan[None]:
            # Read side by side: each is a way to the store's thread and back.
            still, known = await asyncio.gather(self._still(cluster, state), self._known(cluster, changed))
            planned = draft(cluster, changed, known, now, self.capacity)
            return Plan(None, planned.operations, [*planned.when, still])

        async with self._turn:
            await self._ledger.transact(f"exports of cluster {cluster}", plan)

    async def _set_gateways(self, cluster: ClusterName, changed: Mapping[str, GatewayRecord | None]) -> None:
        keys = {keyspace.gateway(cluster, name): record for name, record in changed.items()}

        async def plan() -> Plan[None]:
            still = await self._still(cluster, ClusterState.ACTIVE)
            held = await self._ledger.read_many(list(keys), GatewayRecord)
            different = [(held[key], record) for key, record in keys.items() if held[key].record != record]
            operations = [one.put(record) if record else one.delete() for one, record in different]
            return Plan(None, operations, [still])

        await self._ledger.transact(f"gateways of cluster {cluster}", plan)

    async def _known(self, cluster: ClusterName, changed: Mapping[ServiceName, Export | None]) -> Known:
        """Read what bears on *changed*; the free indexes only when some service is new."""
        exports, services, next_index = await asyncio.gather(
            self._ledger.read_many([keyspace.export(cluster, service) for service in changed], ExportRecord),
            self._ledger.read_many([keyspace.service(service) for service in changed], ServiceRecord),
            self._ledger.read(keyspace.VIPS_NEXT, NextIndex),
        )
        by_service = dict(zip(changed, services.values(), strict=True))
        is_new = any(export and not by_service[service].record for service, export in changed.items())
        return Known(
            dict(zip(changed, exports.values(), strict=True)),
            by_service,
            next_index,
            await self._ledger.list(keyspace.VIPS_FREED, FreedIndex) if is_new else (),
        )

    async def _still(self, cluster: ClusterName, state: ClusterState) -> Compare:
        """That the cluster is in *state*; `UnknownCluster` when it is not even now."""
        held = await self._ledger.read(keyspace.cluster(cluster), ClusterRecord)
        if held.record is None or held.record.state is not state:
            raise UnknownCluster(cluster)
        return held.unchanged
