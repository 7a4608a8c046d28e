"""What is SQLite's own: the file and its lock, restarts, crashes, and time that passes meanwhile."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from federation.errors import Compacted, LeaseNotFound, StoreError, StoreUnusable
from federation.registry.database import Database, Transaction
from federation.registry.leases import Leases
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Batch, Commit, LeaseId, Put, absent


@asynccontextmanager
async def opened(folder: Path, now: float = 0.0) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(folder / "registry.db", lambda: now)
    try:
        yield store
    finally:
        await store.close()


async def first(watch: AsyncIterator[Batch]) -> Batch:
    return await anext(watch)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        lease = await store.grant(60)
        await store.commit([Put("a", b"1"), Put("b", b"2", lease)])
        await store.commit([Put("a", b"3")])
        before = await store.range("")
    async with opened(tmp_path) as store:
        assert await store.range("") == before
        watch = store.watch("", 1)
        assert (await anext(watch)).revision == 2


async def test_compaction_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for i in range(3):
            await store.commit([Put(f"k{i}", b"")])
        await store.compact(2)
    async with opened(tmp_path) as store:
        with pytest.raises(Compacted):
            await anext(store.watch("", 1))


async def test_nobody_is_dead_because_the_hub_was(tmp_path: Path) -> None:
    async with opened(tmp_path, now=0) as store:
        lease = await store.grant(10)
        await store.commit([Put("alive", b"", lease)])
    async with opened(tmp_path, now=1_000_000) as store:
        await store.expire()
        assert await store.get("alive") is not None
        await store.keep_alive(lease)


async def test_a_lease_of_before_the_restart_still_runs_out(tmp_path: Path) -> None:
    now = 0.0
    async with opened(tmp_path) as store:
        await store.commit([Put("alive", b"", await store.grant(1))])
    store = await SqliteStore.open(tmp_path / "registry.db", lambda: now)
    now = 1.5
    await store.expire()
    assert await store.get("alive") is None
    await store.close()


async def test_leases_run_out_by_themselves_while_the_store_is_tended(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "registry.db")
    await store.commit([Put("alive", b"", await store.grant(0.1))])
    tending = asyncio.create_task(store.tend())
    async with asyncio.timeout(10):
        gone = await first(store.watch("", 1))
    assert [(event.key, event.now) for event in gone.events] == [("alive", None)]
    tending.cancel()
    await asyncio.wait([tending])
    await store.close()


async def test_only_as_much_history_as_wanted_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for i in range(21):
            await store.commit([Put(f"k{i}", b"")])
            await store.trim(10)
        with pytest.raises(Compacted):
            await anext(store.watch("", 10))
        assert (await anext(store.watch("", 11))).revision == 12
    rows = sqlite3.connect(tmp_path / "registry.db").execute("SELECT MIN(revision) FROM event").fetchone()
    assert rows == (12,)


async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened(tmp_path) as store:
            await store.commit([Put("a", b"secret")])
            files = sorted(tmp_path.iterdir())
            assert {file.name for file in files} >= {"registry.db", "registry.db-wal", "registry.db.lock"}
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    finally:
        os.umask(before)


async def test_a_second_hub_on_the_same_file_is_refused_and_told_why(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(StoreUnusable, match="another process has it open") as refused:
            await SqliteStore.open(tmp_path / "registry.db")
    assert "--state" in refused.value.hint
    async with opened(tmp_path):
        pass


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="No such file or directory"):
        await SqliteStore.open(tmp_path / "nowhere" / "registry.db")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"certainly not a database, and long enough to be sure of that" * 100)
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="not a database"):
            await SqliteStore.open(path)
    assert path.read_bytes().startswith(b"certainly not")


async def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "registry.db") as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(StoreUnusable, match="not one of fedgate"):
        await SqliteStore.open(tmp_path / "registry.db")


async def test_a_file_of_a_newer_fedgate_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    newer = sqlite3.connect(tmp_path / "registry.db")
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(StoreUnusable, match="schema 2") as refused:
        await SqliteStore.open(tmp_path / "registry.db")
    assert "newer" in refused.value.hint


async def test_a_first_start_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "registry.db").touch()
    async with opened(tmp_path) as store:
        assert (await store.commit([Put("a", b"")])).revision == 1


async def test_a_disk_that_fails_is_a_store_error_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit([Put("a", b"1")])
        other = sqlite3.connect(tmp_path / "registry.db")
        other.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON progress BEGIN SELECT RAISE(FAIL, 'disk full'); END"
        )
        with pytest.raises(StoreError, match="disk full"):
            await store.commit([Put("a", b"2"), Put("b", b"")])
        other.execute("DROP TRIGGER full")
        other.close()
        assert [item.value for item in (await store.range("")).items] == [b"1"]
        assert (await store.commit([Put("b", b"")])).revision == 2


class SlowDatabase(Database):
    """A file on a disk that takes as long as we like."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.together: list[int] = []

    def commit(self, asked: Sequence[Transaction]) -> list[Commit | LeaseNotFound]:
        self.together.append(len(asked))
        self.began.set()
        assert self.may_end.wait(10)
        return super().commit(asked)


async def test_a_commit_whose_caller_gave_up_is_still_told_to_those_who_watch(tmp_path: Path) -> None:
    worker = ThreadPoolExecutor(1)
    database = await asyncio.get_running_loop().run_in_executor(
        worker, SlowDatabase, tmp_path / "registry.db"
    )
    store = SqliteStore(database, worker, Leases(0), lambda: 0)
    following = asyncio.create_task(first(store.watch("", 0)))
    await store.range("")
    giving_up = asyncio.create_task(store.commit([Put("a", b"")]))
    await asyncio.to_thread(database.began.wait, 10)
    giving_up.cancel()
    await asyncio.wait([giving_up])
    database.may_end.set()
    async with asyncio.timeout(10):
        assert (await following).revision == 1
    await store.close()


async def test_what_is_asked_while_the_disk_is_busy_is_done_together_and_answered_one_by_one(
    tmp_path: Path,
) -> None:
    worker = ThreadPoolExecutor(1)
    database = await asyncio.get_running_loop().run_in_executor(
        worker, SlowDatabase, tmp_path / "registry.db"
    )
    store = SqliteStore(database, worker, Leases(0), lambda: 0)
    first_of_all = asyncio.create_task(store.commit([Put("a", b"")]))
    await asyncio.to_thread(database.began.wait, 10)
    asked = [
        store.commit([Put("b", b"")]),
        store.commit([Put("c", b"")], [absent("a")]),
        store.commit([Put("d", b""), Put("e", b"", LeaseId(7))]),
        store.commit([Put("b", b"2")], [absent("d")]),
    ]
    waiting = [asyncio.create_task(each) for each in asked]
    await asyncio.sleep(0)
    database.may_end.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert (await first_of_all).revision == 1
    assert told[0] == Commit(True, 2)
    assert told[1] == Commit(False, 2)
    assert isinstance(told[2], LeaseNotFound)
    assert told[3] == Commit(True, 3)
    assert database.together == [1, 4]
    assert [(item.key, item.mod_revision) for item in (await store.range("")).items] == [("a", 1), ("b", 3)]
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Put

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    for i in range(1_000_000):
        commit = await store.commit([Put(f"k{i}", b""), Put("last", str(i).encode())])
        print(commit.revision, flush=True)

asyncio.run(main())
"""


def killed_writer(path: Path) -> list[int]:
    """Run a process that commits without end, kill it, and say which revisions it had acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        acknowledged = [int(writer.stdout.readline()) for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        return acknowledged + [int(line) for line in writer.stdout if line.endswith("\n")]


async def test_a_hub_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged = await asyncio.to_thread(killed_writer, tmp_path / "registry.db")
    async with opened(tmp_path) as store:
        page = await store.range("", limit=1_000_000)
        assert page.revision >= acknowledged[-1] >= 100
        assert len(page.items) == page.revision + 1
        last = await store.get("last")
        assert last
        assert (last.value, last.mod_revision) == (str(page.revision - 1).encode(), page.revision)


async def test_a_lease_whose_end_nobody_waited_for_runs_out_all_the_same(tmp_path: Path) -> None:
    now, busy, worker = 0.0, threading.Event(), ThreadPoolExecutor(1)
    database = worker.submit(Database, tmp_path / "registry.db").result()
    store = SqliteStore(database, worker, Leases(now), lambda: now)
    lease = await store.grant(1)
    await store.commit([Put("alive", b"", lease)])
    worker.submit(busy.wait)
    revoking = asyncio.create_task(store.revoke(lease))
    await asyncio.sleep(0)
    revoking.cancel()
    await asyncio.wait([revoking])
    busy.set()
    now = 1.5
    await store.expire()
    assert await store.get("alive") is None
    await store.close()
