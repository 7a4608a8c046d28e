"""One SQLite file that behaves like etcd: synchronous, and for one thread only.

The table `kv` holds the keys as they are, `event` what happened to them, revision by revision, and
`progress` how far both have come. Every commit is on disk before it is answered.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from federation.errors import Compacted, InvalidRequest, LeaseNotFound, StoreUnusable
from federation.registry.store import (
    NO_LEASE,
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
)

SCHEMA = 1
"""What `PRAGMA user_version` says; a file of a newer one is refused."""

_APPLICATION_ID = 0x66656467
"""What `PRAGMA application_id` says, so that other people's files are told from ours."""

_TABLES = (
    """CREATE TABLE kv (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        create_revision INTEGER NOT NULL,
        mod_revision INTEGER NOT NULL,
        lease INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX kv_by_lease ON kv (lease) WHERE lease != 0",
    """CREATE TABLE event (
        revision INTEGER NOT NULL,
        place INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB,
        create_revision INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        PRIMARY KEY (revision, place)
    ) WITHOUT ROWID""",
    "CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl REAL NOT NULL)",
    "CREATE TABLE progress (revision INTEGER NOT NULL, compacted INTEGER NOT NULL)",
    "INSERT INTO progress VALUES (0, 0)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
)

_COLUMNS = "key, value, create_revision, mod_revision, lease"
_WATCH_ROWS = 1000
_COMPACTION_SLICE = 500


@dataclass(frozen=True, slots=True)
class Transaction:
    """What to do, if all that it is to hang on holds."""

    operations: tuple[Operation, ...]
    when: tuple[Compare, ...]


class Database:
    """The file, open and locked against every other process. `granted` are the leases it had when opened."""

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path)
        try:
            self._sql = _connect(path)
            self.granted = self._leases()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StoreUnusable(
                str(path), str(error), "is it a registry of fedgate, and is the disk sound?"
            ) from error
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._sql.close()
        os.close(self._lock)

    # --- keys

    def get(self, keys: Sequence[str]) -> Mapping[str, KeyValue]:
        """Those of *keys* that are there, all at one revision."""
        marks = ", ".join("?" * len(keys))
        rows = self._sql.execute(f"SELECT {_COLUMNS} FROM kv WHERE key IN ({marks})", keys)  # noqa: S608
        return {row[0]: KeyValue(*row) for row in rows}

    def range(self, prefix: str, limit: int, after_key: str) -> Page:
        """A page of the keys that begin with *prefix*."""
        first, end = _bounds(prefix)
        with self._transaction():
            rows = self._sql.execute(
                f"SELECT {_COLUMNS} FROM kv WHERE key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?",  # noqa: S608
                (first, end, after_key, limit + 1),
            ).fetchall()
            revision, _ = self.progress()
        return Page(tuple(KeyValue(*row) for row in rows[:limit]), revision, len(rows) > limit)

    def commit(self, asked: Sequence[Transaction]) -> list[Commit | LeaseNotFound]:
        """Do each of *asked* as if it came alone, and put all on the disk together, as that takes longest.

        Each has an answer, which is an error for one that names a lease that is not there.
        """
        with self._transaction():
            return [self._commit(each) for each in asked]

    def _commit(self, asked: Transaction) -> Commit | LeaseNotFound:
        """Do all of the operations if all holds, else nothing."""
        revision, _ = self.progress()
        if not all(self._holds(compare) for compare in asked.when):
            return Commit(False, revision)
        answer: Commit | LeaseNotFound
        self._sql.execute("SAVEPOINT asked")
        try:
            answer = Commit(True, self._apply(asked.operations, revision))
        except LeaseNotFound as error:
            self._sql.execute("ROLLBACK TO asked")
            answer = error
        self._sql.execute("RELEASE asked")
        return answer

    def _holds(self, compare: Compare) -> bool:
        row = self._sql.execute(
            "SELECT value, create_revision, mod_revision FROM kv WHERE key = ?", (compare.key,)
        ).fetchone()
        value, created, modified = row or (None, 0, 0)
        return (
            compare.mod_revision in (None, modified)
            and compare.create_revision in (None, created)
            and compare.value in (None, value)
        )

    def _apply(self, operations: Sequence[Operation], revision: int) -> int:
        """Make the next revision out of *operations*; when they change nothing, there is none."""
        place = 0
        for operation in operations:
            match operation:
                case Put():
                    place += self._put(operation, revision + 1, place)
                case Delete(key):
                    place += self._delete(key, revision + 1, place)
        if place:
            revision += 1
            self._sql.execute("UPDATE progress SET revision = ?", (revision,))
        return revision

    def _put(self, put: Put, revision: int, place: int) -> bool:
        if put.lease != NO_LEASE and not self._leased(put.lease):
            raise LeaseNotFound(put.lease)
        self._sql.execute(
            """INSERT INTO kv VALUES (:key, :value, :revision, :revision, :lease)
               ON CONFLICT (key) DO UPDATE SET value = :value, mod_revision = :revision, lease = :lease""",
            {"key": put.key, "value": put.value, "revision": revision, "lease": put.lease},
        )
        self._sql.execute(
            """INSERT INTO event
               SELECT mod_revision, ?, key, value, create_revision, lease FROM kv WHERE key = ?""",
            (place, put.key),
        )
        return True

    def _delete(self, key: str, revision: int, place: int) -> bool:
        if not self._sql.execute("DELETE FROM kv WHERE key = ?", (key,)).rowcount:
            return False
        self._sql.execute("INSERT INTO event VALUES (?, ?, ?, NULL, 0, 0)", (revision, place, key))
        return True

    # --- history

    def progress(self) -> tuple[int, int]:
        """The newest revision, and the one up to which history is gone."""
        revision, compacted = self._sql.execute("SELECT revision, compacted FROM progress").fetchone()
        return int(revision), int(compacted)

    def events(self, prefix: str, after_revision: int) -> tuple[list[Batch], int]:
        """What happened under *prefix* next, and up to which revision that is all: whole revisions only."""
        with self._transaction():
            revision, compacted = self.progress()
            if after_revision < compacted:
                raise Compacted(after_revision, compacted)
            rows, more = self._event_rows(prefix, after_revision)
        batches = [
            Batch(number, tuple(_event(*row) for row in happened))
            for number, happened in groupby(rows, key=lambda row: row[0])
        ]
        return batches, batches[-1].revision if more else max(revision, after_revision)

    def _event_rows(self, prefix: str, after_revision: int) -> "tuple[list[_EventRow], bool]":
        """Some rows, and whether there are more; never half of a revision."""
        first, end = _bounds(prefix)
        found: sqlite3.Cursor = self._sql.execute(
            """SELECT revision, key, value, create_revision, lease FROM event
               WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, place""",
            (after_revision, first, end),
        )
        rows: list[_EventRow] = []
        for row in found:
            if len(rows) >= _WATCH_ROWS and row[0] != rows[-1][0]:
                return rows, True
            rows.append(row)
        return rows, False

    def begin_compaction(self, revision: int) -> list[int]:
        """Declare history up to *revision* gone, and say where to `forget` up to, step by step."""
        with self._transaction():
            newest, compacted = self.progress()
            if revision > newest:
                raise InvalidRequest(f"cannot compact up to revision {revision}: the newest is {newest}")
            if revision <= compacted:
                return []
            self._sql.execute("UPDATE progress SET compacted = ?", (revision,))
            (oldest,) = self._sql.execute("SELECT MIN(revision) FROM event").fetchone()
        start = revision if oldest is None else int(oldest)
        return [*range(start, revision, _COMPACTION_SLICE), revision]

    def forget(self, revision: int) -> None:
        """Drop the events up to *revision*."""
        with self._transaction():
            self._sql.execute("DELETE FROM event WHERE revision <= ?", (revision,))

    # --- leases

    def _leases(self) -> Mapping[LeaseId, float]:
        """All leases, and for how many seconds each was granted."""
        return {LeaseId(lease): ttl for lease, ttl in self._sql.execute("SELECT id, ttl FROM lease")}

    def grant(self, ttl: float) -> LeaseId:
        """A new lease; its number was never used before."""
        with self._transaction():
            return LeaseId(self._sql.execute("INSERT INTO lease (ttl) VALUES (?)", (ttl,)).lastrowid or 0)

    def revoke(self, leases: Sequence[LeaseId]) -> None:
        """End *leases*, each in a revision of its own, with the keys that hang on them."""
        with self._transaction():
            for lease in leases:
                keys = self._sql.execute("SELECT key FROM kv WHERE lease = ?", (lease,)).fetchall()
                self._apply([Delete(key) for (key,) in keys], self.progress()[0])
                self._sql.execute("DELETE FROM lease WHERE id = ?", (lease,))

    def _leased(self, lease: LeaseId) -> bool:
        return self._sql.execute("SELECT 1 FROM lease WHERE id = ?", (lease,)).fetchone() is not None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._sql.execute("COMMIT")
        except BaseException:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise


def snapshot(path: Path) -> Snapshot:
    """All keys of the file at *path*, which another process may have open: that is not in its way.

    StoreUnusable for a file that is not there, not ours, or of a newer fedgate.
    """
    try:
        sql = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreUnusable(str(path), str(error), "a hub's is registry.db in its state folder") from error
    try:
        _check_ours(sql, path)
        sql.execute("BEGIN")
        (revision,) = sql.execute("SELECT revision FROM progress").fetchone()
        rows = sql.execute(f"SELECT {_COLUMNS} FROM kv ORDER BY key")  # noqa: S608
        return Snapshot(tuple(KeyValue(*row) for row in rows), revision)
    except sqlite3.Error as error:
        raise StoreUnusable(str(path), str(error), "is it a registry of fedgate?") from error
    finally:
        sql.close()


_EventRow = tuple[int, str, bytes | None, int, int]


def _event(revision: int, key: str, value: bytes | None, create_revision: int, lease: int) -> Event:
    if value is None:
        return Event(key, None)
    return Event(key, KeyValue(key, value, create_revision, revision, LeaseId(lease)))


def _bounds(prefix: str) -> tuple[str, str]:
    """The keys that begin with *prefix* are from the first to before the second; keys are ASCII."""
    return prefix, f"{prefix}\x7f"


def _lock(path: Path) -> int:
    """Keep every other process out for as long as we live, however we end."""
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnusable(
            str(path), error.strerror or str(error), "the folder must be there, and ours"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreUnusable(
            str(path),
            "another process has it open",
            "one hub at a time: stop the other, or give it a --state of its own",
        ) from error
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, or make it for our eyes only."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    sql = sqlite3.connect(path, isolation_level=None)
    try:
        tables = _check_ours(sql, path)
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        if not tables:
            sql.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                sql.execute(statement)
            sql.execute("COMMIT")
    except BaseException:
        sql.close()
        raise
    return sql


def _check_ours(sql: sqlite3.Connection, path: Path) -> int:
    """See that the database is one of fedgate, and none of a newer one; gives how many tables it has."""
    (schema,) = sql.execute("PRAGMA user_version").fetchone()
    (application,) = sql.execute("PRAGMA application_id").fetchone()
    (tables,) = sql.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    if tables and application != _APPLICATION_ID:
        raise StoreUnusable(str(path), "it is a database, but not one of fedgate")
    if schema > SCHEMA:
        raise StoreUnusable(
            str(path),
            f"it has schema {schema}, and this fedgate knows up to {SCHEMA}",
            "run the hub with the fedgate that wrote it, or a newer one",
        )
    return int(tables)
