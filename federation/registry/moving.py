"""A registry moved to another store: all of it, or the new store says that it is not whole."""

from collections.abc import AsyncIterator, Callable
from typing import Final

from federation.errors import StoreNotEmpty, StoreUnusable
from federation.registry.ledger import everything
from federation.registry.store import (
    MAX_BYTES,
    MAX_OPERATIONS,
    NO_LEASE,
    Delete,
    Operation,
    Put,
    Store,
    absent,
)

UNFINISHED: Final = "fedgate-moving"
"""The key that is there while a registry is being moved in. Its name is none of the registry's own."""

_MOST: Final = MAX_OPERATIONS // 2


async def move(source: Store, target: Store, told: Callable[[int], None] = lambda _: None) -> int:
    """Copy every record of *source* to *target*, and say how many there were; nobody may use either.

    What hangs on a lease says who is connected now, and stays behind. A move that was cut short is done again
    from its beginning. *told* hears how many records have been copied. Raises StoreNotEmpty for a target
    that has a registry already, StoreUnusable if *source* was written to meanwhile.
    """
    await _begin(target)
    began, moved = await _revision(source), 0
    async for puts in _portions(source):
        await target.commit(puts)
        moved += len(puts)
        told(moved)
    if await _contents(source) != await _contents(target) or await _revision(source) != began:
        raise StoreUnusable("that is moved", "something writes to it", "stop its hubs, and move it again")
    await target.commit([Delete(UNFINISHED)])
    return moved


async def refuse_unfinished(store: Store) -> None:
    """Raise StoreUnusable for a store into which a registry was moved only in part."""
    if await store.get(UNFINISHED) is not None:
        hint = "run `fedgate store migrate` again: it begins anew, and the old store is as it was"
        raise StoreUnusable("store", "a registry was moved into it only in part", hint)


async def _begin(target: Store) -> None:
    """Make *target* empty but for the mark, if it is what a move has left."""
    unfinished = await target.get(UNFINISHED)
    if unfinished is None:
        if (await target.range("", limit=1)).items:
            raise StoreNotEmpty
        await target.commit([Put(UNFINISHED, b"")], [absent(UNFINISHED)])
        return
    while keys := [item.key for item in (await target.range("", _MOST)).items if item.key != UNFINISHED]:
        await target.commit([Delete(key) for key in keys])


async def _revision(store: Store) -> int:
    return (await store.range("", limit=1)).revision


async def _portions(source: Store) -> AsyncIterator[list[Operation]]:
    """All that is to be copied, as transactions that every store takes."""
    portion: list[Operation] = []
    size = 0
    async for item in everything(source, ""):
        if item.lease != NO_LEASE:
            continue
        more = len(item.key) + len(item.value)
        if portion and (len(portion) == _MOST or size + more > MAX_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(Put(item.key, item.value))
        size += more
    if portion:
        yield portion


async def _contents(store: Store) -> dict[str, bytes]:
    """What stays when nobody is connected."""
    return {
        item.key: item.value
        async for item in everything(store, "")
        if item.lease == NO_LEASE and item.key != UNFINISHED
    }
