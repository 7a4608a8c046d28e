"""The registry's store inside of the hub: one SQLite file, owned by one process.

All of SQLite runs in one thread of its own, so a slow disk never holds up the event loop. A watch
reads the file's history from where it stands: a slow one costs no memory, a late one loses nothing.
Leases are timed here, by a clock that does not jump, and start afresh whenever the store is opened:
nobody is dead because the hub was.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from federation.errors import InvalidRequest, StoreClosed, StoreError
from federation.registry.database import Database, Transaction
from federation.registry.leases import Leases
from federation.registry.store import (
    MAX_OPERATIONS,
    Batch,
    Commit,
    Compare,
    KeyValue,
    LeaseId,
    Operation,
    Page,
    check_transaction,
)

TICK = 0.5
"""Seconds between two looks for leases that ran out."""

HISTORY = 20_000
"""How many revisions a watch may be behind before it has to list again."""

_TOGETHER = 64
"""How many transactions are put on the disk together at most."""

P = ParamSpec("P")
T = TypeVar("T")


class SqliteStore:
    """A `Store`. Whoever opens it also runs `tend` and closes it."""

    def __init__(
        self, database: Database, worker: ThreadPoolExecutor, leases: Leases, clock: Callable[[], float]
    ):
        self._database = database
        self._worker = worker
        self._leases = leases
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._closed = False
        self._asked: list[tuple[Transaction, asyncio.Future[Commit]]] = []
        self._committing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], float] = time.monotonic) -> Self:
        """Open the store in file *path*, or make it; its folder must be there.

        Refuses with `StoreUnusable` what another process has open, what is damaged or not ours, and
        what a newer fedgate wrote.
        """
        worker = ThreadPoolExecutor(1, "registry")
        try:
            database = await asyncio.get_running_loop().run_in_executor(worker, Database, path)
        except BaseException:
            worker.shutdown(wait=False)
            raise
        leases = Leases(clock())
        for lease, ttl in database.granted.items():
            leases.add(lease, ttl, clock())
        return cls(database, worker, leases, clock)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._wake()
        await self._loop.run_in_executor(self._worker, self._database.close)
        self._worker.shutdown(wait=False)

    # --- keys

    async def get(self, key: str) -> KeyValue | None:
        return (await self.get_many((key,))).get(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, KeyValue]:
        if len(keys) > MAX_OPERATIONS:
            raise InvalidRequest(f"{len(keys)} keys at once: at most {MAX_OPERATIONS}")
        return await self._run(self._database.get, tuple(keys))

    async def range(self, prefix: str, limit: int = 1000, after_key: str = "") -> Page:
        return await self._run(self._database.range, prefix, limit, after_key)

    async def commit(self, operations: Sequence[Operation], when: Sequence[Compare] = ()) -> Commit:
        check_transaction(operations, when)
        answer: asyncio.Future[Commit] = self._loop.create_future()
        self._asked.append((Transaction(tuple(operations), tuple(when)), answer))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all())
        return await answer

    async def _commit_all(self) -> None:
        """Do what is asked for; all that came while the disk was busy, together."""
        while self._asked:
            asked, self._asked = self._asked[:_TOGETHER], self._asked[_TOGETHER:]
            done: Sequence[Commit | StoreError] = ()
            try:
                done = await self._run_and_wake(self._database.commit, [each for each, _ in asked])
            except StoreError as error:
                done = [error] * len(asked)
            finally:
                for (_, answer), commit in zip_longest(asked, done):
                    _settle(answer, commit)

    async def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Batch]:
        seen = after_revision
        while True:
            news = self._news
            batches, complete = await self._run(self._database.events, prefix, seen)
            for batch in batches:
                yield batch
            if complete == seen:
                await news.wait()
            seen = complete

    async def compact(self, revision: int) -> None:
        for step in await self._run(self._database.begin_compaction, revision):
            await self._run(self._database.forget, step)

    # --- leases

    async def grant(self, ttl: float) -> LeaseId:
        lease = await self._run(self._database.grant, ttl)
        self._leases.add(lease, ttl, self._clock())
        return lease

    async def keep_alive(self, lease: LeaseId) -> None:
        if self._closed:
            raise StoreClosed
        self._leases.renew(lease, self._clock())

    async def revoke(self, lease: LeaseId) -> None:
        await self._run_and_wake(self._database.revoke, (lease,))
        self._leases.remove(lease)  # not before: whoever gives up waiting has it run out

    # --- upkeep

    async def tend(self) -> None:
        """Let leases run out and old history go, for ever."""
        while True:
            await asyncio.sleep(TICK)
            await self.expire()
            await self.trim(HISTORY)

    async def expire(self) -> None:
        """End the leases whose time is over."""
        if ended := self._leases.take_overdue(self._clock()):
            await self._run_and_wake(self._database.revoke, ended)

    async def trim(self, history: int) -> None:
        """Compact down to *history* revisions, once there are twice as many."""
        revision, compacted = await self._run(self._database.progress)
        if revision - compacted > 2 * history:
            await self.compact(revision - history)

    # --- the thread

    async def _run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do *job* in the store's thread."""
        if self._closed:
            raise StoreClosed
        try:
            return await self._loop.run_in_executor(self._worker, lambda: job(*args, **kwargs))
        except sqlite3.Error as error:
            raise StoreError(f"the registry's disk or file failed: {error}") from error

    async def _run_and_wake(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do *job*, and wake those who watch, even when our caller has given up waiting meanwhile."""

        def announced() -> T:
            try:
                return job(*args, **kwargs)
            finally:
                self._loop.call_soon_threadsafe(self._wake)

        return await self._run(announced)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _settle(answer: asyncio.Future[Commit], commit: Commit | StoreError | None) -> None:
    """Give whoever asked the *answer*, if he has not given up waiting; None if we were stopped."""
    if commit is None:
        answer.cancel()
    elif answer.done():
        pass
    elif isinstance(commit, Commit):
        answer.set_result(commit)
    else:
        answer.set_exception(commit)
