"""Records read from a store and written back only if nobody interfered."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from federation.errors import Contention, UnreadableRecord
from federation.log import Log
from federation.registry.codec import decode, encode
from federation.registry.store import (
    NO_LEASE,
    Compare,
    Delete,
    KeyValue,
    LeaseId,
    Operation,
    Put,
    Store,
    unchanged,
)

ATTEMPTS = 20

T = TypeVar("T")

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A record as it was read; `None` when it was absent."""

    key: str
    record: T | None
    seen: KeyValue | None

    @property
    def unchanged(self) -> Compare:
        """That nobody has touched it since."""
        return unchanged(self.key, self.seen)

    def put(self, record: T, lease: LeaseId = NO_LEASE) -> Put:
        """Write *record* in its place."""
        return Put(self.key, encode(record), lease)

    def delete(self) -> Delete:
        """Remove it."""
        return Delete(self.key)


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """What to write if all of *when* still holds, and what to answer then.

    Without operations there is nothing to do but to answer.
    """

    answer: T
    operations: Sequence[Operation] = ()
    when: Sequence[Compare] = ()


class Ledger:
    """A store, with types."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def read(self, key: str, kind: type[T]) -> Held[T]:
        """Read one record; `UnreadableRecord` when it makes no sense."""
        seen = await self.store.get(key)
        return _held(key, seen, kind)

    async def read_many(self, keys: Sequence[str], kind: type[T]) -> Mapping[str, Held[T]]:
        """Read some records at one revision."""
        seen = await self.store.get_many(keys)
        return {key: _held(key, seen.get(key), kind) for key in keys}

    async def list(self, prefix: str, kind: type[T]) -> list[Held[T]]:
        """Read all records under *prefix*; those that make no sense are left out, and logged."""
        found = []
        async for item in everything(self.store, prefix):
            try:
                found.append(_held(item.key, item, kind))
            except UnreadableRecord as error:
                log.warning("record skipped", key=item.key, reason=error.reason)
        return found

    async def transact(self, what: str, plan: Callable[[], Awaitable[Plan[T]]]) -> T:
        """Read, decide and write, all over again until nobody interfered.

        *what* names it in the error when that never happens.
        """
        for _ in range(ATTEMPTS):
            planned = await plan()
            if not planned.operations:
                return planned.answer
            if (await self.store.commit(planned.operations, planned.when)).succeeded:
                return planned.answer
        raise Contention(what)


async def everything(store: Store, prefix: str) -> AsyncIterator[KeyValue]:
    """All keys under *prefix*, each as it is when its page is read."""
    after, more = "", True
    while more:
        page = await store.range(prefix, after_key=after)
        for item in page.items:
            yield item
            after = item.key
        more = page.more


def slices(items: Iterable[T], size: int) -> Iterable[list[T]]:
    """*items* in lists of at most *size*."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def _held(key: str, seen: KeyValue | None, kind: type[T]) -> Held[T]:
    return Held(key, decode(key, seen.value, kind) if seen else None, seen)
