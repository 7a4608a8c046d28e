"""Which store this is: a random identity, written by the first hub that opens it, and there as long as it is.

Revisions say how far a store has come, and not of which history that is: one that was emptied and filled
again may be further than the one before. A registry that is restored or moved is another history, and has
another identity. An etcd put back by its own means keeps what it had; its revisions alone tell of that.
"""

import secrets
from typing import Final

from federation.errors import StoreUnusable
from federation.registry import keyspace
from federation.registry.moving import UNFINISHED, refuse_unfinished
from federation.registry.registry import Registry
from federation.registry.store import Compare, Put, Store, absent

_BYTES: Final = 16


async def identity_of(store: Store) -> bytes:
    """The identity of *store*; one that has none is given one. StoreUnusable if it is not whole."""
    made = secrets.token_hex(_BYTES).encode()
    none = [absent(keyspace.IDENTITY), absent(UNFINISHED)]
    if (await store.commit([Put(keyspace.IDENTITY, made)], none)).succeeded:
        return made
    await refuse_unfinished(store)
    held = await store.get(keyspace.IDENTITY)
    if held is None:
        raise replaced()
    return held.value


async def bound(registry: Registry) -> Registry:
    """*registry*, to be changed only while its store is the one that it is now: else StoreUnusable."""
    same = Compare(keyspace.IDENTITY, value=await identity_of(registry.store))
    return registry.guarded(same, replaced)


def replaced(how: str = "it has another identity") -> StoreUnusable:
    """That the store is not the one that was read, and *how* that shows."""
    hint = "start the hub again: it reads everything anew"
    return StoreUnusable("store", f"another one is in its place: {how}", hint)
