"""Which of several hubs does what only one may do: the one that holds a key, for as long as its lease lasts.

Each hub has one lease. On it hang the hub's own record, by which everybody knows that it runs, and, at the
elected one, the key of the election. What the elected writes compares the revision that made that key, in the
same transaction: one that was deposed, and has not heard of it, changes nothing.

A hub alone on its SQLite file is elected at once, by the same way.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn

from clusters.latest import Latest
from federation.errors import Deposed, FederationError, HubNameTaken, NotElected, StoreUnusable
from federation.log import Log
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.ledger import Ledger
from federation.registry.records import HubRecord, LeaderRecord
from federation.registry.registry import Registry
from federation.registry.store import Compare, Delete, LeaseId, Put, absent

log = Log(__name__)

TTL: Final = 5.0
"""Seconds after which a hub that is not heard of is none, and another one is elected."""

_TICK: Final = TTL / 3
_NAME_FREE_WITHIN: Final = TTL + 2.0
_POLL: Final = 0.25


@dataclass(frozen=True, slots=True)
class Term:
    """One time of one hub as the elected: from the revision that made its key, until that key is gone."""

    revision: int

    @property
    def mark(self) -> Compare:
        """That it is not over."""
        return Compare(keyspace.LEADER, create_revision=self.revision)


class Election:
    """This hub's part in it. `term` is its term while it is elected, and None at all other times."""

    def __init__(self, registry: Registry, name: str, instance: str, now: Callable[[], datetime]) -> None:
        self.name = name
        self.term: Latest[Term | None] = Latest(None)
        self._registry = registry
        self._ledger = Ledger(registry.store)
        self.instance = instance
        self._now = now
        self._lease: LeaseId | None = None
        self._record: Callable[[], HubRecord] | None = None
        self._written: HubRecord | None = None
        self._leader: LeaderRecord | None = None
        self._stirred = asyncio.Event()

    def registry(self) -> Registry:
        """The registry for what only the elected writes; raises NotElected. Its writes may raise Deposed."""
        term = self.term.value
        if term is None:
            raise NotElected(self._leader.name if self._leader else "")
        return self._registry.guarded(term.mark, Deposed)

    async def enter(self) -> None:
        """Take a lease, and be elected if nobody is. Raises StoreError."""
        self._lease = await self._registry.store.grant(TTL)
        self._written = None
        await self._stand(self._lease)

    async def announce(self, record: Callable[[], HubRecord]) -> None:
        """Have everybody know that this hub runs, and what *record* says of it whenever that changes.

        Raises HubNameTaken when another hub of that name goes on running.
        """
        self._record = record
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _NAME_FREE_WITHIN
        while not await self._tell():
            if loop.time() > deadline:
                held = await self._ledger.read(keyspace.hub(self.name), HubRecord)
                raise HubNameTaken(self.name, held.record.join if held.record else ())
            await asyncio.sleep(_POLL)

    def stir(self) -> None:
        """Look at once: something about hubs has changed."""
        self._stirred.set()

    async def run(self) -> NoReturn:
        """Keep the lease, and be elected whenever nobody is, for ever. At the end others are told at once.

        Raises StoreUnusable when another registry is put into the store: what is known here is the old one's.
        """
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TICK):
                        await self._stirred.wait()
                self._stirred.clear()
                try:
                    await self._go_on()
                except StoreUnusable:
                    raise
                except FederationError as error:
                    self._lose(str(error))
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Give up the lease, and with it the election."""
        lease, self._lease = self._lease, None
        self.term.set(None)
        if lease is not None:
            with suppress(FederationError):
                await self._registry.store.revoke(lease)

    async def _go_on(self) -> None:
        if self._lease is None:
            await self.enter()
        else:
            await self._registry.store.keep_alive(self._lease)
            await self._stand(self._lease)
        await self._tell()

    async def _stand(self, lease: LeaseId) -> None:
        """See who is elected; if that is nobody, or this hub before it was started again, be it."""
        held = await self._ledger.read(keyspace.LEADER, LeaderRecord)
        term = self.term.value
        if term is not None and held.seen is not None and held.seen.create_revision == term.revision:
            return
        if term is not None:
            self._lose("its key is gone")
            return
        if held.record is not None and held.record.instance == self.instance:
            await self._registry.store.commit([Delete(keyspace.LEADER)], [held.unchanged])
        elif held.record is not None:
            self._leader = held.record
            return
        self._leader = LeaderRecord(self.name, self.instance, self._now())
        put = Put(keyspace.LEADER, encode(self._leader), lease)
        done = await self._registry.store.commit([put], [absent(keyspace.LEADER)])
        if done.succeeded:
            log.info("hub elected", hub=self.name)
            self.term.set(Term(done.revision))

    async def _tell(self) -> bool:
        """Write down what there is to say of this hub, if that is new; False if another has its name.

        False also without a lease for it to go with: it would stay for ever.
        """
        if self._record is None or (record := self._record()) == self._written:
            return True
        held = await self._ledger.read(keyspace.hub(self.name), HubRecord)
        if held.record is not None and held.record.instance != self.instance:
            return False
        if self._lease is None:
            return False
        done = await self._registry.store.commit([held.put(record, self._lease)], [held.unchanged])
        if done.succeeded:
            self._written = record
        return done.succeeded

    def _lose(self, reason: str) -> None:
        """Be nobody until the next try: what hung on the lease is gone, or will be."""
        if self.term.value is not None:
            log.warning("hub not elected any more", hub=self.name, reason=reason)
        self._lease = None
        self._leader = None
        self.term.set(None)
