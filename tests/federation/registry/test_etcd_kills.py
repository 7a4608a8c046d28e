"""What must not happen to a registry on etcd: a write that is lost or done twice, an event that is not told.

Each test does something bad to a real etcd while numbered writes go on, and in the end a mirror that was kept
by a watch has to equal what is stored.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from federation.errors import Compacted
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.ledger import everything
from federation.registry.store import Compare, Delete, Operation, Put, absent
from tests import requirements
from tests.federation.registry.etcd_entry import SHORT_LIVED, Certificates, let_in_users, with_password
from tests.federation.registry.etcd_server import Member, etcd

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("etcd-kills")]

WRITES = 20_000
_WRITERS = 8
_BATCH = 10
_PATIENCE = 120
_STILL = 30


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    requirements.program("etcd")
    with etcd(tmp_path, 3) as members:
        yield members


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.001)


@dataclass
class Mirror:
    """What a watch has told: applied revision by revision, listed anew when history is gone."""

    store: EtcdStore
    held: dict[str, bytes] = field(default_factory=dict)
    revision: int = 0
    listed: int = 0
    read_until: int = 0  # what happened while the pages of a listing were read may be known already

    async def follow(self) -> None:
        while True:
            try:
                async for batch in self.store.watch("", self.revision):
                    if not batch.events:
                        assert batch.revision >= self.revision, "an interruption goes back"
                        continue
                    assert batch.revision > self.revision, "told twice, or out of order"
                    self.revision = batch.revision
                    for event in batch.events:
                        if event.now is None:
                            gone = self.held.pop(event.key, None)
                            assert gone is not None or batch.revision <= self.read_until, (
                                "its put was not told"
                            )
                        else:
                            assert event.now.mod_revision == batch.revision
                            self.held[event.key] = event.now.value
            except Compacted:
                await self.list()

    async def list(self) -> None:
        self.listed += 1
        page = await self.store.range("", limit=1)
        self.held = {item.key: item.value async for item in everything(self.store, "")}
        self.revision = page.revision
        self.read_until = (await self.store.range("", limit=1)).revision

    async def until(self, revision: int) -> None:
        await until(lambda: self.revision >= revision)


@dataclass
class Writes:
    """Numbers, each written by a transaction that goes through only once; every fifth is then deleted."""

    store: EtcdStore
    count: int = WRITES
    seconds: float = 0  # at least
    done: int = 0
    last: int = 0
    going_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        self.going_on.set()
        numbers = iter(range(0, self.count, _BATCH))
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(self._write(numbers))

    async def _write(self, numbers: Iterator[int]) -> None:
        for first in numbers:
            keys = [f"n/{number:06}" for number in range(first, first + _BATCH)]
            puts: list[Operation] = [Put(key, key.encode()) for key in keys]
            commit = await self.store.commit(puts, [absent(key) for key in keys])
            assert commit.succeeded, f"{keys[0]} was written twice"
            gone: list[Operation] = [Delete(key) for key in keys[::5]]
            commit = await self.store.commit(gone, [Compare(keys[0], value=keys[0].encode())])
            assert commit.succeeded, f"{keys[0]} was deleted twice, or lost"
            self.last = max(self.last, commit.revision)
            self.done += _BATCH
            await asyncio.sleep(self.seconds * _WRITERS * _BATCH / self.count)
            await self.going_on.wait()

    async def reached(self, share: float) -> None:
        """Wait until so much of it is done."""
        await until(lambda: self.done >= share * self.count)


def where(members: list[Member]) -> Location:
    return Location(tuple(member.endpoint for member in members))


@asynccontextmanager
async def opened(location: Location) -> AsyncIterator[EtcdStore]:
    store = await EtcdStore.open(location)
    yield store
    await store.close()


async def check(
    location: Location,
    harm: Callable[[Writes, EtcdStore], Coroutine[None, None, None]],
    seconds: float = 0,
) -> Mirror:
    """Write, for so many *seconds* at least, and mirror while *harm* is done.

    In the end both must agree, and nothing be missing.
    """
    elsewhere = replace(location, endpoints=location.endpoints[1:] + location.endpoints[:1])
    async with opened(location) as writing, opened(elsewhere) as watching:
        writes, mirror = Writes(writing, seconds=seconds), Mirror(watching)
        following = asyncio.create_task(mirror.follow())
        async with asyncio.timeout(3 * _PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(writes.run())
            group.create_task(harm(writes, writing))
        await mirror.until(writes.last)
        following.cancel()
        truth = {item.key: item.value async for item in everything(writing, "")}
        assert mirror.held == truth
        assert set(truth) == {f"n/{number:06}" for number in range(WRITES) if number % 5}
        return mirror


async def test_each_member_in_turn_may_be_killed_and_the_leader_is_one_of_them(members: list[Member]) -> None:
    async def harm(writes: Writes, _: EtcdStore) -> None:
        for turn, member in enumerate(members):
            await writes.reached(0.1 + 0.3 * turn)
            member.signal(signal.SIGKILL)
            await writes.reached(0.2 + 0.3 * turn)
            member.start()

    mirror = await check(where(members), harm)
    assert mirror.listed == 0


async def test_all_members_may_be_killed_at_once(members: list[Member]) -> None:
    async def harm(writes: Writes, _: EtcdStore) -> None:
        await writes.reached(0.4)
        for member in members:
            member.signal(signal.SIGKILL)
        await asyncio.sleep(1)
        for member in members:
            member.start()

    assert (await check(where(members), harm)).listed == 0


async def test_a_member_may_stand_still_for_half_a_minute(members: list[Member]) -> None:
    async def harm(writes: Writes, _: EtcdStore) -> None:
        for turn in (0, 1):  # one that is written to, and one that is watched
            await writes.reached(0.1 + 0.5 * turn)
            members[turn].signal(signal.SIGSTOP)
            try:
                before = writes.done
                await asyncio.sleep(_STILL)
                assert writes.done >= before + 0.2 * writes.count, "it held up the others"
            finally:
                members[turn].signal(signal.SIGCONT)

    assert (await check(where(members), harm, seconds=90)).listed == 0


async def test_certificates_may_be_renewed(certificates: Certificates, tmp_path: Path) -> None:
    with etcd(tmp_path, 3, certificates.options(mutual=True)) as members:

        async def harm(writes: Writes, _: EtcdStore) -> None:
            for turn, member in enumerate([*members, *members]):
                await writes.reached(0.1 + 0.13 * turn)
                certificates.renew()
                # Who is told to stop ends calls in another way than who is killed.
                member.signal(signal.SIGTERM)
                member.start()

        assert (await check(certificates.entry(members), harm)).listed == 0


async def test_tokens_may_run_out(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path, 3, SHORT_LIVED) as members:

        async def harm(writes: Writes, _: EtcdStore) -> None:
            for turn, member in enumerate(members):
                await writes.reached(0.1 + 0.3 * turn)
                writes.going_on.clear()
                await asyncio.sleep(5)
                writes.going_on.set()
                await writes.reached(0.2 + 0.3 * turn)
                member.signal(signal.SIGKILL)  # whoever watches it has to show a token again
                member.start()

        await let_in_users(members[0].endpoint, "sesame")
        assert (await check(with_password(tmp_path, members, "sesame"), harm)).listed == 0


async def test_what_is_watched_may_be_compacted(members: list[Member]) -> None:
    async def harm(writes: Writes, store: EtcdStore) -> None:
        for turn in range(1, 9):
            await writes.reached(0.1 * turn)
            await store.compact((await store.range("", limit=1)).revision)
            members[turn % 3].signal(
                signal.SIGKILL
            )  # whoever watches it has to begin again, and maybe too late
            await store.compact((await store.range("", limit=1)).revision)
            members[turn % 3].start()

    await check(where(members), harm)


async def test_a_kill_while_a_watch_catches_up_loses_nothing_of_it(members: list[Member]) -> None:
    async with opened(where(members)) as writing, opened(where(members)) as watching:
        writes = Writes(writing, 50_000)
        await writes.run()
        mirror = Mirror(watching)
        following = asyncio.create_task(mirror.follow())
        for member in members:
            await until(lambda: mirror.revision > 0)
            member.signal(signal.SIGKILL)
            await asyncio.sleep(0.2)
            member.start()
        await mirror.until(writes.last)
        following.cancel()
        assert mirror.held == {item.key: item.value async for item in everything(writing, "")}
        assert len(mirror.held) == 40_000
        assert mirror.listed == 0
