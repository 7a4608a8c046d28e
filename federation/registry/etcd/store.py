"""The registry's store on etcd: every hub that has the same etcd and prefix has the same registry.

A transaction is done once, however often it had to be asked for: it writes a mark beside what it changes, and
finds that there when its answer was lost.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from math import ceil
from time import monotonic
from typing import Final, NoReturn

from etcd3.etcdrpc import kv_pb2 as kv
from etcd3.etcdrpc import rpc_pb2 as rpc

from federation.errors import InvalidRequest, LeaseNotFound
from federation.registry.etcd.connection import RANGE, Connection, Method, Refused
from federation.registry.etcd.location import Location
from federation.registry.etcd.watching import after_prefix, watched
from federation.registry.store import (
    MAX_OPERATIONS,
    Batch,
    Commit,
    Compare,
    Delete,
    Event,
    KeyValue,
    LeaseId,
    Operation,
    Page,
    Put,
    Snapshot,
    check_transaction,
)

TXN: Final = Method("/etcdserverpb.KV/Txn", rpc.TxnRequest, rpc.TxnResponse)
COMPACT: Final = Method("/etcdserverpb.KV/Compact", rpc.CompactionRequest, rpc.CompactionResponse)
GRANT: Final = Method("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest, rpc.LeaseGrantResponse)
REVOKE: Final = Method("/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse)
KEEP_ALIVE: Final = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    rpc.LeaseKeepAliveRequest,
    rpc.LeaseKeepAliveResponse,
    streamed=True,
)

_OPENED_WITHIN: Final = 6.0
_PAGE: Final = 1000

_LEASE_GONE: Final = "requested lease not found"
_LEASE_THERE: Final = "lease already exists"


class EtcdStore:
    """A `Store`. Whoever opens it also runs `tend` and closes it."""

    def __init__(self, location: Location, clock: Callable[[], float] = monotonic) -> None:
        self._connection = Connection(location)
        self._clock = clock
        self._keys = f"{location.prefix}/"
        # Beside the keys, so that nobody who watches these is told of marks.
        self._marks = f"{location.prefix}-commits/{secrets.token_hex(8)}/"
        self._free_marks: list[str] = []
        self._marks_made = 0
        self._good: dict[LeaseId, tuple[float, float]] = {}

    @classmethod
    async def open(cls, location: Location) -> "EtcdStore":
        """Open the store at *location*; StoreUnreachable or Refused if it cannot be read."""
        store = cls(location)
        try:
            request = rpc.RangeRequest(key=store._wire(""), limit=1)
            await store._connection.call(RANGE, request, _OPENED_WITHIN)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        if not self._connection.closed.is_set():
            with suppress(Exception):
                await self._forget_marks()
            await self._connection.close()

    # --- keys

    async def get(self, key: str) -> KeyValue | None:
        answer = await self._connection.call(RANGE, rpc.RangeRequest(key=self._wire(key)))
        return self._item(answer.kvs[0]) if answer.kvs else None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, KeyValue]:
        if len(keys) > MAX_OPERATIONS:
            raise InvalidRequest(f"{len(keys)} keys at once: at most {MAX_OPERATIONS}")
        reads = [rpc.RequestOp(request_range=rpc.RangeRequest(key=self._wire(key))) for key in keys]
        answer = await self._connection.call(TXN, rpc.TxnRequest(success=reads))
        found = [self._item(item) for each in answer.responses for item in each.response_range.kvs]
        return {item.key: item for item in found}

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        begin = self._wire(prefix)
        first = max(begin, self._wire(after_key) + b"\0") if after_key else begin
        request = rpc.RangeRequest(key=first, range_end=after_prefix(begin), limit=limit)
        answer = await self._connection.call(RANGE, request)
        return Page(tuple(map(self._item, answer.kvs)), answer.header.revision, answer.more)

    async def snapshot(self) -> Snapshot:
        """All keys at one revision; Refused if etcd has compacted it away meanwhile."""
        items: list[KeyValue] = []
        begin = first = self._wire("")
        revision, more = 0, True
        while more:
            request = rpc.RangeRequest(
                key=first, range_end=after_prefix(begin), limit=_PAGE, revision=revision
            )
            answer = await self._connection.call(RANGE, request)
            items += map(self._item, answer.kvs)
            revision, more = revision or answer.header.revision, answer.more
            first = answer.kvs[-1].key + b"\0" if more else first
        return Snapshot(tuple(items), revision)

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        check_transaction(operations, when)
        compares = [each for compare in when for each in self._compares(compare)]
        writes = [self._write(operation) for operation in operations]
        try:
            if not writes:
                answer = await self._connection.call(TXN, rpc.TxnRequest(compare=compares))
                return Commit(answer.succeeded, answer.header.revision)
            return await self._commit_once(compares, writes)
        except Refused as error:
            if _LEASE_GONE in error.details:
                raise LeaseNotFound(
                    next(o.lease for o in operations if isinstance(o, Put) and o.lease)
                ) from error
            raise

    async def _commit_once(self, compares: Sequence[rpc.Compare], writes: Sequence[rpc.RequestOp]) -> Commit:
        """Write unless our mark says that it was done: then it was, at the mark's revision."""
        mark, number = self._take_mark(), secrets.token_bytes(12)
        marking = rpc.RequestOp(request_put=rpc.PutRequest(key=mark.encode(), value=number))
        done = rpc.Compare(
            key=mark.encode(), target=rpc.Compare.VALUE, result=rpc.Compare.EQUAL, value=number
        )
        look = rpc.RequestOp(request_range=rpc.RangeRequest(key=mark.encode()))
        work = rpc.TxnRequest(compare=compares, success=[*writes, marking])
        request = rpc.TxnRequest(compare=[done], success=[look], failure=[rpc.RequestOp(request_txn=work)])
        answer = await self._connection.call(TXN, request)
        self._free_marks.append(mark)  # not after an error: what was asked for may still be carried out
        if answer.succeeded:
            return Commit(True, answer.responses[0].response_range.kvs[0].mod_revision)
        return Commit(answer.responses[0].response_txn.succeeded, answer.header.revision)

    async def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Batch]:
        async for revision, events in watched(self._connection, self._wire(prefix), after_revision):
            yield Batch(revision, tuple(map(self._event, events)))

    async def compact(self, revision: int) -> None:
        try:
            await self._connection.call(COMPACT, rpc.CompactionRequest(revision=revision))
        except Refused as error:
            if "future revision" in error.details:
                raise InvalidRequest(f"cannot compact up to revision {revision}: {error.details}") from error
            if "compacted" not in error.details:
                raise

    # --- leases

    async def grant(self, ttl: float) -> LeaseId:
        """As the store says. etcd counts in seconds, and makes short leases longer."""
        lease = LeaseId(secrets.randbits(62) + 1)
        asked = self._clock()
        try:
            answer = await self._connection.call(GRANT, rpc.LeaseGrantRequest(TTL=ceil(ttl), ID=lease))
            granted = answer.TTL
        except Refused as error:
            if _LEASE_THERE not in error.details:  # an earlier try has made it
                raise
            granted = ceil(ttl)
        self._good[lease] = asked, float(granted)
        return lease

    async def keep_alive(self, lease: LeaseId) -> None:
        """As the store says. A lease is lost, too, when etcd has said nothing of it for its whole time."""
        asked = self._clock()
        at, ttl = self._good.get(lease, (asked, 1.0))
        if asked >= at + ttl:
            self._lose(lease)
        left = at + ttl - asked
        answer = await self._connection.call(KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=lease), left)
        if answer.TTL <= 0:
            self._lose(lease)
        self._good[lease] = asked, float(answer.TTL)

    async def revoke(self, lease: LeaseId) -> None:
        self._good.pop(lease, None)
        try:
            await self._connection.call(REVOKE, rpc.LeaseRevokeRequest(ID=lease))
        except Refused as error:
            if _LEASE_GONE not in error.details:
                raise

    async def tend(self) -> None:
        """Nothing: etcd ends leases itself, and how much history it keeps is for whoever runs it."""
        await self._connection.closed.wait()

    def _lose(self, lease: LeaseId) -> NoReturn:
        self._good.pop(lease, None)
        raise LeaseNotFound(lease)

    # --- the words of etcd

    def _wire(self, key: str) -> bytes:
        return f"{self._keys}{key}".encode()

    def _item(self, item: kv.KeyValue) -> KeyValue:
        key = item.key.decode(errors="replace").removeprefix(self._keys)
        return KeyValue(key, item.value, item.create_revision, item.mod_revision, LeaseId(item.lease))

    def _event(self, event: kv.Event) -> Event:
        item = self._item(event.kv)
        return Event(item.key, None if event.type == kv.Event.DELETE else item)

    def _write(self, operation: Operation) -> rpc.RequestOp:
        match operation:
            case Put(key, value, lease):
                return rpc.RequestOp(
                    request_put=rpc.PutRequest(key=self._wire(key), value=value, lease=lease)
                )
            case Delete(key):
                return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=self._wire(key)))

    def _compares(self, compare: Compare) -> Sequence[rpc.Compare]:
        key, equal, made = self._wire(compare.key), rpc.Compare.EQUAL, []
        if compare.mod_revision is not None:
            made.append(
                rpc.Compare(key=key, result=equal, target=rpc.Compare.MOD, mod_revision=compare.mod_revision)
            )
        if compare.create_revision is not None:
            created = compare.create_revision
            made.append(
                rpc.Compare(key=key, result=equal, target=rpc.Compare.CREATE, create_revision=created)
            )
        if compare.value is not None:
            made.append(rpc.Compare(key=key, result=equal, target=rpc.Compare.VALUE, value=compare.value))
        return made

    # --- marks

    def _take_mark(self) -> str:
        """A mark that no other transaction under way has."""
        if self._free_marks:
            return self._free_marks.pop()
        self._marks_made += 1
        return f"{self._marks}{self._marks_made}"

    async def _forget_marks(self) -> None:
        marks = self._marks.encode()
        request = rpc.DeleteRangeRequest(key=marks, range_end=after_prefix(marks))
        delete = rpc.RequestOp(request_delete_range=request)
        await self._connection.call(TXN, rpc.TxnRequest(success=[delete]), patience=1.0)
