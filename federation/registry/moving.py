"""A registry put into a store as a whole, moved there or restored; or the store says that it is not whole.

A mark is there from before the first change to after the last. A hub does not start while it is, and whoever
puts a registry in begins anew then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from federation.errors import StoreNotEmpty, StoreUnusable
from federation.registry import keyspace
from federation.registry.ledger import everything
from federation.registry.store import (
    MAX_BYTES,
    MAX_OPERATIONS,
    NO_LEASE,
    Delete,
    Operation,
    Put,
    Store,
    unchanged,
)

UNFINISHED: Final = "fedgate-moving"
"""The key that is there while a registry is being put in. Its name is none of the registry's own."""

MOVING: Final = b""
RESTORING: Final = b"restore"
"""Which of both was begun: the mark's value."""

_MOST: Final = MAX_OPERATIONS // 2


async def move(source: Store, target: Store, told: Callable[[int], None] = lambda _: None) -> int:
    """Copy every record of *source* to *target*, and say how many there were; nobody may use either.

    What hangs on a lease says who is connected now, and stays behind. A move that was cut short is done again
    from its beginning. *told* hears how many records have been copied. Raises StoreNotEmpty for a target
    that has a registry already, StoreUnusable if *source* was written to meanwhile.
    """
    await begin(target, MOVING)
    began, records = await _revision(source), await _contents(source)
    moved = await fill(target, records, told)
    if await _contents(source) != await _contents(target) or await _revision(source) != began:
        raise StoreUnusable("that is moved", "something writes to it", "stop its hubs, and move it again")
    await end(target)
    return moved


async def begin(target: Store, mark: bytes, *, replace: bool = False) -> None:
    """Make *target* empty but for *mark*, if that is what was left, or what is there is to be *replaced*.

    StoreNotEmpty if it has something else.
    """
    before = await target.get(UNFINISHED)
    if before is None and not replace and not await is_empty(target):
        raise StoreNotEmpty
    # Before all else: a hub that was not seen is told first that this is its registry no more.
    begun: list[Operation] = [Put(UNFINISHED, mark), Delete(keyspace.IDENTITY)]
    await target.commit(begun, [unchanged(UNFINISHED, before)])
    while keys := [item.key for item in (await target.range("", _MOST)).items if item.key != UNFINISHED]:
        await target.commit([Delete(key) for key in keys])


async def fill(
    target: Store, records: Mapping[str, bytes], told: Callable[[int], None] = lambda _: None
) -> int:
    """Write *records*, and say how many; *told* hears how many there are so far."""
    written = 0
    for puts in _portions(records.items()):
        await target.commit(puts)
        written += len(puts)
        told(written)
    return written


async def end(target: Store) -> None:
    """Say that *target* is whole."""
    await target.commit([Delete(UNFINISHED)])


async def is_empty(store: Store) -> bool:
    """Whether there is no registry in *store*: at most somebody has opened it."""
    return all(item.key == keyspace.IDENTITY for item in (await store.range("", limit=2)).items)


async def is_unfinished(store: Store) -> bool:
    """Whether a registry was put into *store* only in part."""
    return await store.get(UNFINISHED) is not None


async def refuse_used(store: Store, where: str) -> None:
    """Raise StoreUnusable for a store, called *where*, that hubs use, with their names."""
    if running := (await store.range(keyspace.HUBS)).items:
        names = ", ".join(item.key.removeprefix(keyspace.HUBS) for item in running)
        raise StoreUnusable(where, f"these hubs use it: {names}", "stop them first")


async def refuse_unfinished(store: Store) -> None:
    """Raise StoreUnusable for a store into which a registry was put only in part."""
    mark = await store.get(UNFINISHED)
    if mark is None:
        return
    if mark.value == RESTORING:
        hint = "run `fedgate restore` again: it begins anew"
        raise StoreUnusable("store", "a backup was restored into it only in part", hint)
    hint = "run `fedgate store migrate` again: it begins anew, and the old store is as it was"
    raise StoreUnusable("store", "a registry was moved into it only in part", hint)


async def _revision(store: Store) -> int:
    return (await store.range("", limit=1)).revision


def _portions(records: Iterable[tuple[str, bytes]]) -> Iterator[list[Operation]]:
    """*records*, as transactions that every store takes."""
    portion: list[Operation] = []
    size = 0
    for key, value in records:
        more = len(key) + len(value)
        if portion and (len(portion) == _MOST or size + more > MAX_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(Put(key, value))
        size += more
    if portion:
        yield portion


async def _contents(store: Store) -> dict[str, bytes]:
    """What stays when nobody is connected, and is the same in another store."""
    return {
        item.key: item.value
        async for item in everything(store, "")
        if item.lease == NO_LEASE and item.key not in (UNFINISHED, keyspace.IDENTITY)
    }
