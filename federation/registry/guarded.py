"""A store whose every write holds only as long as a mark is there: the writer's right to write.

Whoever had the right and lost it, without having heard of that yet, changes nothing: the mark is compared in
the same transaction. The elected hub writes so, by the key of its election, and each agent's session, by the
mark of its connection.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from federation.errors import FederationError
from federation.registry.store import Batch, Commit, Compare, KeyValue, LeaseId, Operation, Page, Store


class Guarded:
    """The `Store` *store*, with *mark* compared in each transaction; *lost* is the error of one too late."""

    def __init__(self, store: Store, mark: Compare, lost: Callable[[], FederationError]) -> None:
        self._store = store
        self._mark = mark
        self._lost = lost

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        """As the store says; raises what *lost* makes when the mark is gone."""
        done = await self._store.commit(operations, [*when, self._mark])
        if not done.succeeded and not (await self._store.commit([], [self._mark])).succeeded:
            raise self._lost()
        return done

    async def get(self, key: str) -> KeyValue | None:
        return await self._store.get(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, KeyValue]:
        return await self._store.get_many(keys)

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        return await self._store.range(prefix, limit, after_key)

    def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Batch]:
        return self._store.watch(prefix, after_revision)

    async def grant(self, ttl: float) -> LeaseId:
        return await self._store.grant(ttl)

    async def keep_alive(self, lease: LeaseId) -> None:
        await self._store.keep_alive(lease)

    async def revoke(self, lease: LeaseId) -> None:
        await self._store.revoke(lease)

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        await self._store.close()
