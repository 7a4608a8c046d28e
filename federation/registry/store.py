"""What the registry is kept in: keys with revisions, transactions, leases, and a watch that loses nothing.

The words and the rules are etcd's. Every transaction that changes something makes one new revision
of the whole store; a key remembers the revision that created it and the one that last changed it.
A store is SQLite inside of the hub, or etcd; one conformance suite says what both promise.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from federation.errors import InvalidRequest

LeaseId = NewType("LeaseId", int)

NO_LEASE = LeaseId(0)

MAX_OPERATIONS = 100
"""The most operations, and the most comparisons, in a transaction (etcd's own limit is 128)."""

MAX_BYTES = 1024 * 1024
"""The most that one transaction may write, keys and values together (etcd's own limit is 1.5 MiB)."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it is now."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys in order, and the store's revision at which they were read."""

    items: tuple[KeyValue, ...]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys as they were at one revision."""

    items: tuple[KeyValue, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key. It hangs on *lease* from now on, and on no other."""

    key: str
    value: bytes
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; one that is not there is no error and no event."""

    key: str


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Compare:
    """What must hold for a transaction to go through.

    `None` means that it does not matter; revision 0 says that the key is absent.
    """

    key: str
    mod_revision: int | None = None
    create_revision: int | None = None
    value: bytes | None = None


def absent(key: str) -> Compare:
    """*key* is not there."""
    return Compare(key, mod_revision=0)


def unchanged(key: str, seen: KeyValue | None) -> Compare:
    """Nobody has touched *key* since it was *seen*, or seen to be absent."""
    return Compare(key, mod_revision=seen.mod_revision) if seen else absent(key)


@dataclass(frozen=True, slots=True)
class Commit:
    """How a transaction went, and the store's revision after it."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Event:
    """One key changed: what it is now, or `None` when it was deleted."""

    key: str
    now: KeyValue | None


@dataclass(frozen=True, slots=True)
class Batch:
    """All events of one revision under the watched prefix: they happened together."""

    revision: int
    events: tuple[Event, ...]


class Store(Protocol):
    """Keys with revisions. Every method may raise `StoreError`. Keys are printable ASCII."""

    async def get(self, key: str) -> KeyValue | None:
        """Read one key."""
        ...

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, KeyValue]:
        """Read up to `MAX_OPERATIONS` keys at one revision; those that are absent are left out."""
        ...

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        """Read the keys that begin with *prefix* and come after *after_key*, at most *limit* of them.

        Pages of one listing may be of different revisions. To follow on from a listing, watch after
        the revision of its *first* page, and skip what the later pages already knew.
        """
        ...

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        """Do all of *operations* if all of *when* holds, else nothing. It is durable once this returns.

        A key may be in one operation only. A put on a lease that is gone raises `LeaseNotFound`.
        """
        ...

    def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Batch]:
        """Yield every later revision that touched *prefix*, in order, each once, for ever.

        A batch without events says that the store was out of reach meanwhile: whoever has to know that it is
        still the same one looks now. Raises `Compacted` when some revisions are no longer known: list again,
        and watch from there.
        """
        ...

    async def grant(self, ttl: float) -> LeaseId:
        """Make a lease that runs out *ttl* seconds from now, unless it is kept alive."""
        ...

    async def keep_alive(self, lease: LeaseId) -> None:
        """Start the lease's time afresh; `LeaseNotFound` when it was too late."""
        ...

    async def revoke(self, lease: LeaseId) -> None:
        """End the lease and delete, in one revision, every key that hangs on it.

        One that ended already is no error.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget the history up to *revision*; keys stay. Compacting again what is compacted does nothing."""
        ...

    async def close(self) -> None:
        """Let go of everything; a watch that waits ends with `StoreClosed`."""
        ...


def check_transaction(operations: Sequence[Operation], when: Sequence[Compare]) -> None:
    """Refuse what not every store would accept, so that no caller comes to rely on it."""
    if max(len(operations), len(when)) > MAX_OPERATIONS:
        raise InvalidRequest(
            f"a transaction of {len(operations)} operations and {len(when)} comparisons: "
            f"at most {MAX_OPERATIONS} of each"
        )
    if len({operation.key for operation in operations}) != len(operations):
        raise InvalidRequest("a transaction writes the same key twice")
    if not all(item.key.isascii() and item.key.isprintable() and item.key for item in (*operations, *when)):
        raise InvalidRequest("a key is not printable ASCII, or empty")
    size = sum(len(o.key) + (len(o.value) if isinstance(o, Put) else 0) for o in operations)
    if size > MAX_BYTES:
        raise InvalidRequest(f"a transaction of {size} bytes: at most {MAX_BYTES}")
