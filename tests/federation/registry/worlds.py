"""Small registries for tests: clusters that have joined, exports, and a mirror that has caught up."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from clusters.model import Export
from clusters.names import ClusterName, ServiceName
from clusters.services import Port
from federation.registry.clusterset import Clusterset
from federation.registry.members import JoinRequest
from federation.registry.mirror import Mirror
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Commit, Compare, Operation, Store
from tests.builders import DOMAIN, HTTP

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def token(cluster: ClusterName, name: str = "t1") -> TokenRecord:
    """A token for *cluster*, good for 15 minutes from `NOW`; its secret's hash is `hash`."""
    return TokenRecord(name, "hash", cluster, NOW, NOW + 15 * MINUTE)


async def joined(registry: Registry, *clusters: ClusterName, by: str = "token-of") -> None:
    """Let *clusters* join, each with an anchor of its own."""
    for cluster in clusters:
        await registry.tokens.add(token(cluster, f"{by}-{cluster}"))
        request = JoinRequest(f"{by}-{cluster}", "hash", cluster)
        await registry.members.join(request, f"{cluster}.{DOMAIN}", f"ANCHOR OF {cluster}", NOW)


def service(name: str) -> ServiceName:
    """A service in namespace `shop`."""
    return ServiceName("shop", name)


def exports(*names: str, ready: int = 1, port: Port = HTTP) -> Mapping[ServiceName, Export]:
    """What a cluster says that exports those services."""
    return {service(name): Export(service(name), (port,), ready) for name in names}


def gone(*names: str) -> Mapping[ServiceName, None]:
    """What a cluster says that no longer exports those services."""
    return {service(name): None for name in names}


async def mirrored(store: Store) -> Clusterset:
    """What a mirror sees that starts now."""
    mirror = Mirror(store)
    async with asyncio.timeout(10):
        await anext(mirror.changes())
    return mirror.clusterset


class Overtaken(SqliteStore):
    """A store in which somebody else is faster, once: `meanwhile` happens right before a commit."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().commit(operations, when)
