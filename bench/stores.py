"""How many writes a second each of the registry's stores takes, and what it takes them with.

A write is one small record in a transaction of its own, durable when it is answered. Beside them is what the
disk says of the smallest write that is durable: a block appended and synced.
"""

import asyncio
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from statistics import quantiles
from typing import Final

from bench import measure
from bench.report import Key, Ratio, Report
from federation.demo.etcd import etcd_command
from federation.errors import StepFailed
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Put, Store

TOPIC: Final = "writes to the store"
STORES: Final = ("SQLite", "etcd")
_AT_ONCE: Final = (1, 32)
_RECORD: Final = b"x" * 300
_ADDRESS: Final = "127.0.0.1"


async def measure_stores(report: Report, rounds: int, quick: bool) -> None:
    """Write to each store in turn, one at a time and many at once."""
    seconds = 0.5 if quick else 3.0
    synced = Key(TOPIC, "a block appended and synced", "1 at once", "1/s")
    for store in STORES:
        for many in _AT_ONCE:
            of = Key(TOPIC, store, f"{many} at once", "1/s")
            report.ratios.append(Ratio(f"writes, {many} at once: {store} / synced blocks", of, synced))
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        folder = Path(name)
        async with a_store("etcd", folder) as (_, url, *_):
            sqlite = await SqliteStore.open(folder / "registry.db")
            etcd = await EtcdStore.open(Location((url.removeprefix("etcd://").partition("/")[0],), "bench"))
            try:
                for _ in range(rounds):
                    report.loads.append(measure.load())
                    report.add(synced, await asyncio.to_thread(_synced, folder / "block", seconds))
                    for many in _AT_ONCE:
                        await _written(report, "SQLite", sqlite, many, seconds)
                        await _written(report, "etcd", etcd, many, seconds)
            finally:
                await sqlite.close()
                await etcd.close()


async def _written(report: Report, name: str, store: Store, many: int, seconds: float) -> None:
    waits: list[float] = []
    end = time.monotonic() + seconds

    async def go_on(writer: int) -> None:
        while (began := time.monotonic()) < end:
            await store.commit([Put(f"bench/{writer}/{len(waits) % 1000}", _RECORD)])
            waits.append(time.monotonic() - began)

    await asyncio.gather(*map(go_on, range(many)))
    marks = quantiles(waits, n=100)
    for what, unit, value in (
        ("", "1/s", len(waits) / seconds),
        (": p50", "ms", marks[49] * 1e3),
        (": p99", "ms", marks[98] * 1e3),
    ):
        report.add(Key(TOPIC, name, f"{many} at once{what}", unit), value)


def _synced(path: Path, seconds: float) -> float:
    """How many blocks a second can be appended and synced, one after the other."""
    count, end = 0, time.monotonic() + seconds
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        while time.monotonic() < end:
            os.write(file, _RECORD)
            os.fdatasync(file)
            count += 1
    finally:
        os.close(file)
    return count / seconds


@asynccontextmanager
async def a_store(name: str, folder: Path) -> AsyncIterator[Sequence[str]]:
    """What a hub is told of the store *name*, which is there until the block is left."""
    if name == "SQLite":
        yield ()
        return
    if shutil.which("etcd") is None:
        raise StepFailed("etcd is not here", "", "install Debian's etcd-server, or run `.ci/programs etcd`")
    client, peer = _free_ports(2)
    argv = etcd_alone(folder / "etcd", client, peer)
    with (folder / "etcd.log").open("wb") as log:
        etcd = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
    try:
        await _listening(client)
        yield on_etcd(folder, client)
    finally:
        etcd.kill()
        await etcd.wait()


def etcd_alone(data: Path, client: int, peer: int) -> list[str]:
    """What runs an etcd of one member on two ports, with its data in the folder *data*."""
    here, there = (f"http://{_ADDRESS}:{port}" for port in (client, peer))
    return etcd_command("bench", data, here, {"bench": there})


def on_etcd(folder: Path, client: int) -> tuple[str, ...]:
    """What a hub is told of an etcd at the port *client*, and of the passphrase for its keys."""
    secret = folder / "passphrase"
    secret.write_text("everybody knows it")
    secret.chmod(0o600)
    return "--store", f"etcd://{_ADDRESS}:{client}/bench", "--passphrase-file", str(secret)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_ADDRESS, 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def _listening(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with closing(socket.socket()) as probe:
            if probe.connect_ex((_ADDRESS, port)) == 0:
                return
        await asyncio.sleep(0.05)
    raise StepFailed("etcd does not listen", "")
