"""A store whose revisions begin at 0, on one that has had others: so that one suite can name them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from federation.errors import Compacted
from federation.registry.store import (
    Batch,
    Commit,
    Compare,
    Event,
    KeyValue,
    LeaseId,
    Operation,
    Page,
    Store,
)


class Shifted:
    """*store* as if *base* were its revision 0. Nobody else may write to it."""

    def __init__(self, store: Store, base: int) -> None:
        self._store = store
        self._base = base

    async def get(self, key: str) -> KeyValue | None:
        found = await self._store.get(key)
        return self._down(found) if found else None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, KeyValue]:
        return {key: self._down(item) for key, item in (await self._store.get_many(keys)).items()}

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        page = await self._store.range(prefix, limit, after_key)
        return Page(tuple(map(self._down, page.items)), page.revision - self._base, page.more)

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        commit = await self._store.commit(operations, [self._up(compare) for compare in when])
        return Commit(commit.succeeded, commit.revision - self._base)

    async def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Batch]:
        try:
            async for batch in self._store.watch(prefix, after_revision + self._base):
                events = (Event(e.key, self._down(e.now) if e.now else None) for e in batch.events)
                yield Batch(batch.revision - self._base, tuple(events))
        except Compacted as error:
            raise Compacted(error.after_revision - self._base, error.compacted - self._base) from error

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision + self._base)

    async def grant(self, ttl: float) -> LeaseId:
        return await self._store.grant(ttl)

    async def keep_alive(self, lease: LeaseId) -> None:
        await self._store.keep_alive(lease)

    async def revoke(self, lease: LeaseId) -> None:
        await self._store.revoke(lease)

    async def close(self) -> None:
        await self._store.close()

    def _down(self, item: KeyValue) -> KeyValue:
        created, modified = item.create_revision - self._base, item.mod_revision - self._base
        return replace(item, create_revision=created, mod_revision=modified)

    def _up(self, compare: Compare) -> Compare:
        """0 says that the key is absent, and stays."""
        modified, created = (
            revision + self._base if revision else revision
            for revision in (compare.mod_revision, compare.create_revision)
        )
        return replace(compare, mod_revision=modified, create_revision=created)
