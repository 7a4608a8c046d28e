"""Where the files of root and hub CA are kept: in one hub's folder, or in the store that several hubs share.

Both are changed whole or not at all. What is in the store is one record; every hub has a copy of it in
memory, and only the elected one changes the record. What changes files may wait for a disk or for the store,
so it is nothing for an event loop.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from federation.errors import Contention
from federation.registry import keyspace
from federation.registry.ledger import Held, Ledger
from federation.registry.records import AuthoritiesRecord
from federation.registry.registry import Registry
from pki import keystore

_WRITTEN_WITHIN: Final = 30.0


class Files(Protocol):
    """Files by name."""

    @property
    def where(self) -> str:
        """What to call the place in an error."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is a file *name*."""
        ...

    def read(self, name: str) -> bytes:
        """The file *name*; FileNotFoundError if there is none."""
        ...

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Write all of *files*, or none."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Have no files of these *names*."""
        ...


class Folder:
    """Files in a folder that is ours alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def where(self) -> str:
        return str(self._folder)

    def has(self, name: str) -> bool:
        return (self._folder / name).exists()

    def read(self, name: str) -> bytes:
        return keystore.read(self._folder / name)

    def replace(self, files: Mapping[str, bytes]) -> None:
        keystore.write_all(self._folder, files)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)


class Copy:
    """Files in memory: what is changed here is changed nowhere else."""

    def __init__(self, where: str, files: Mapping[str, bytes]) -> None:
        self._where = where
        self._files = dict(files)

    @property
    def where(self) -> str:
        return self._where

    def has(self, name: str) -> bool:
        return name in self._files

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(f"{self._where} has no {name}")
        return self._files[name]

    def replace(self, files: Mapping[str, bytes]) -> None:
        self._files |= files

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._files.pop(name, None)


class InStore:
    """The files in the store at *where*, as they were loaded last.

    *elected* gives the registry to change them, and raises NotElected at a hub that may not.
    """

    def __init__(self, where: str, registry: Registry, elected: Callable[[], Registry]) -> None:
        self._where = where
        self._ledger = Ledger(registry.store)
        self._elected = elected
        self._loop = asyncio.get_running_loop()
        self._held: Held[AuthoritiesRecord] = Held(keyspace.AUTHORITIES, None, None)

    @property
    def where(self) -> str:
        return self._where

    @property
    def files(self) -> Mapping[str, bytes]:
        """All of them."""
        return self._held.record.files if self._held.record else {}

    async def load(self) -> None:
        """Have them as they are in the store now."""
        self._held = await self._ledger.read(keyspace.AUTHORITIES, AuthoritiesRecord)

    async def found(self, files: Mapping[str, bytes]) -> bool:
        """Be the first to put files there; False if others were."""
        await self.load()
        if self._held.record is not None:
            return False
        put = self._held.put(AuthoritiesRecord(dict(files)))
        done = await self._ledger.store.commit([put], [self._held.unchanged])
        await self.load()
        return done.succeeded

    def copy(self) -> Copy:
        """What was loaded last, to be changed in memory only."""
        return Copy(self._where, self.files)

    def has(self, name: str) -> bool:
        return name in self.files

    def read(self, name: str) -> bytes:
        return self.copy().read(name)

    def replace(self, files: Mapping[str, bytes]) -> None:
        self._write({**self.files, **files})

    def remove(self, names: Iterable[str]) -> None:
        gone = set(names)
        self._write({name: content for name, content in self.files.items() if name not in gone})

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Wait, in a thread, until the event loop has written the record."""
        if files != self.files:
            writing = asyncio.run_coroutine_threadsafe(self._commit(dict(files)), self._loop)
            writing.result(_WRITTEN_WITHIN)

    async def _commit(self, files: dict[str, bytes]) -> None:
        held = self._held
        put = held.put(AuthoritiesRecord(files))
        done = await self._elected().store.commit([put], [held.unchanged])
        await self.load()
        if not done.succeeded:
            raise Contention("root and hub CA")
