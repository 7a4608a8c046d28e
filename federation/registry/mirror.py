"""The registry in memory: one task that follows the store, batch by batch.

What it holds is right even when history was compacted away under it: it then lists everything and
takes in the difference. A record that makes no sense is logged and skipped, and what was known
under its key stays. Of a store that was replaced by another one it can say nothing right, and says so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, TypeVar

from clusters.errors import ClusterError
from federation.errors import Compacted, StoreUnreachable, UnreadableRecord
from federation.log import Log
from federation.registry import keyspace
from federation.registry.clusterset import NOTHING, Change, Clusterset
from federation.registry.identity import replaced
from federation.registry.store import Batch, Store

log = Log(__name__)


RELIST: Final = 300.0
"""Seconds after which everything is listed again, in case its watchers were not told of something: etcd 3.4
and 3.5 have lost deletions around a compaction."""

T = TypeVar("T")


class Mirror:
    """Keeps `clusterset` in step with *store*, for as long as somebody iterates over `changes`.

    After it whoever follows `beside` is told of each record, too: its key, and None when it was deleted.
    """

    def __init__(self, store: Store, relist: float = RELIST, *, one_machine: bool = False) -> None:
        self.beside: list[Callable[[str, bytes | None], None]] = []
        self._store = store
        self._relist = relist
        self._revisions: dict[str, int] = {}
        self._reached = 0
        self._identity: bytes | None = None
        self.clusterset = Clusterset(one_machine=one_machine)

    def revision(self, *keys: str) -> int:
        """Since when the records under *keys* have been what they are: it grows with each change."""
        return max((self._revisions.get(key, 0) for key in keys), default=0)

    async def changes(self) -> AsyncIterator[Change]:
        """Yield what may look different, after each revision that changed something, for ever.

        The first one comes when all that is stored has been read, and comes even when that is nothing.
        Raises StoreUnusable when the store has another identity, or has become older than it was: it was
        replaced, or restored.
        """
        revision, change = await self._list()
        yield change
        while True:
            try:
                recognized = False
                async for batch in _for(self._relist, self._store.watch(keyspace.ROOT, revision)):
                    if not (recognized and batch.events):  # it may be of whatever is there since
                        await self._recognize()
                        recognized = True
                    if change := self._apply(batch):
                        yield change
            except Compacted as error:
                log.info("registry listed anew", after=error.after_revision, compacted=error.compacted)
            except StoreUnreachable as error:
                log.warning("registry out of reach", reason=str(error))
            with suppress(
                StoreUnreachable
            ):  # what was watched until here is asked for again, and then listed
                revision, change = await self._list()
                if change:
                    yield change

    def _apply(self, batch: Batch) -> Change:
        self._reached = max(self._reached, batch.revision)
        return Change.joined(
            self._take(event.key, event.now.value if event.now else None, batch.revision)
            for event in batch.events
        )

    async def _list(self) -> tuple[int, Change]:
        """Take in everything as it is, and say after which revision to watch from here on."""
        changes: list[Change] = []
        listed: set[str] = set()
        page = await self._store.range(keyspace.ROOT)
        revision = page.revision
        _refuse_older("it", revision, self._reached)
        self._reached = revision
        while True:
            for item in page.items:
                _refuse_older(item.key, item.mod_revision, self._revisions.get(item.key, 0))
                listed.add(item.key)
                changes.append(self._take(item.key, item.value, item.mod_revision))
            if not page.more:
                break
            page = await self._store.range(keyspace.ROOT, after_key=page.items[-1].key)
        changes += [self._take(key, None, revision) for key in self._revisions.keys() - listed]
        return revision, Change.joined(changes)

    def _take(self, key: str, value: bytes | None, revision: int) -> Change:
        """Take in what *key* has been since *revision*; what a later page has told already is old news."""
        if key == keyspace.IDENTITY:
            self._refuse_another(value)
        if revision <= self._revisions.get(key, 0):
            return NOTHING
        if value is None:
            self._revisions.pop(key, None)
        else:
            self._revisions[key] = revision
        try:
            change = self.clusterset.apply(key, value)
            for told in self.beside:
                told(key, value)
        except (UnreadableRecord, ClusterError) as error:
            log.warning("record skipped", key=key, reason=str(error))
            return NOTHING
        return change

    async def _recognize(self) -> None:
        held = await self._store.get(keyspace.IDENTITY)
        self._refuse_another(held.value if held else None)

    def _refuse_another(self, identity: bytes | None) -> None:
        """Raise StoreUnusable if this is not the *identity* that was seen first."""
        if self._identity not in (None, identity):
            raise replaced()
        self._identity = identity


def _refuse_older(what: str, revision: int, known: int) -> None:
    """Raise StoreUnusable if *what* is of a *revision* before the one that is *known*: it never goes back."""
    if revision < known:
        raise replaced(f"{what} is at revision {revision}, and was at {known}")


async def _for(seconds: float, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """*items*, until *seconds* have passed."""
    ends = asyncio.get_running_loop().time() + seconds
    with suppress(TimeoutError, StopAsyncIteration):
        while True:
            async with asyncio.timeout_at(ends):
                item = await anext(items)
            yield item
