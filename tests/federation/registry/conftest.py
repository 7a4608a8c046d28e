"""The stores that must all behave alike, and a registry on each of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Store
from tests import requirements
from tests.federation.registry.etcd_entry import Certificates
from tests.federation.registry.etcd_server import etcd as running_etcd
from tests.federation.registry.shifted import Shifted


@dataclass(frozen=True)
class Bench:
    """A store, and a way to let time pass for it."""

    store: Store
    let_pass: Callable[[float], Awaitable[None]]


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Bench]:
    now = 0.0
    store = await SqliteStore.open(folder / "registry.db", lambda: now)

    async def let_pass(seconds: float) -> None:
        nonlocal now
        end = now + seconds
        while now < end:
            now = min(now + 0.5, end)
            await store.expire()

    yield Bench(store, let_pass)
    await store.close()


@asynccontextmanager
async def etcd(endpoint: str) -> AsyncIterator[Bench]:
    store = await EtcdStore.open(Location((endpoint,), f"test-{secrets.token_hex(8)}"))
    base = (await store.range("")).revision

    async def let_pass(seconds: float) -> None:
        await asyncio.sleep(seconds)

    yield Bench(Shifted(store, base), let_pass)
    await store.close()


@pytest.fixture(scope="session")
def one_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of one etcd for all tests; each has a prefix of its own."""
    requirements.program("etcd")
    with running_etcd(tmp_path_factory.mktemp("etcd")) as (member,):
        yield member.endpoint


@pytest.fixture(params=["sqlite", "etcd"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = etcd(request.getfixturevalue("one_etcd")) if request.param == "etcd" else sqlite(tmp_path)
    async with made as bench:
        yield bench


@pytest.fixture
def store(bench: Bench) -> Store:
    return bench.store


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, capacity=100)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    requirements.program("etcd")
    return Certificates(tmp_path / "certificates")
