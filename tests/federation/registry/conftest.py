"""The stores that must all behave alike, and a registry on each of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Store


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


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Bench]]] = {"sqlite": sqlite}


@pytest.fixture(params=STORES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with STORES[request.param](tmp_path) as bench:
        yield bench


@pytest.fixture
def store(bench: Bench) -> Store:
    return bench.store


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, capacity=100)
