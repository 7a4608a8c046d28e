"""The load: called directly, samples without a fault fail no call, and a fault fails those that it hits."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clusters.model import VipRange
from federation.demo.process import Process
from federation.demo.tally import Made
from federation.demo.world import free_port
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from tests.builders import CLOUD, imported, view

NAME = "catalog.shop.svc.clusterset.local"
PROTOCOLS = {"HTTP/1.1", "HTTP/2", "gRPC", "WebSocket", "TCP"}
# A service with the VIP index 1 is at 127.0.0.1.
HERE = replace(view(imported("catalog", CLOUD, index=1)), vip_ranges=(VipRange("127.0.0.0/24"),))


@dataclass(frozen=True, slots=True)
class Samples:
    """The sample services on this machine, and their ports."""

    ports: dict[str, int]
    processes: dict[str, Process]

    def options(self) -> list[str]:
        return [word for kind, port in self.ports.items() for word in (f"--{kind}", str(port))]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    folder = tmp_path_factory.mktemp("samples")
    with ExitStack() as held:
        ports = {kind: free_port(0, held) for kind in ("http", "grpc", "tcp")}
    with ExitStack() as stack:
        processes = {}
        for kind, port in ports.items():
            argv = [sys.executable, "-P", "-m", "federation.demo.samples", kind, "--name", "catalog@cloud"]
            process = Process([*argv, "--listen", f"127.0.0.1:{port}"], name=kind, log=folder / f"{kind}.log")
            processes[kind] = stack.enter_context(process)
        yield Samples(ports, processes)


@asynccontextmanager
async def name_server(zone: Zone) -> AsyncIterator[str]:
    server = DnsServer.bind(["127.0.0.1:0"], zone)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        yield server.addresses[0]
        task.cancel()


@asynccontextmanager
async def load(folder: Path, server: str, *options: str) -> AsyncIterator[Callable[[], list[Made]]]:
    """A load that runs as long as the block; gives what its log has so far."""
    log = folder / "calls.jsonl"
    argv = [sys.executable, "-P", "-m", "federation.demo.load", NAME, "--server", server]
    argv += ["--log", str(log), "--family", "4"]

    def made() -> list[Made]:
        whole, _, _ = log.read_text().rpartition("\n") if log.exists() else ("", "", "")
        return [Made.parse(line) for line in whole.splitlines()]

    process = await asyncio.create_subprocess_exec(*argv, *options, stdout=subprocess.DEVNULL)
    try:
        yield made
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def listening(samples: Samples) -> None:
    for process in samples.processes.values():
        while "ready" not in process.tail():
            assert process.returncode is None
            await asyncio.sleep(0.02)


async def until(true: Callable[[], bool], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 (another process's file)
            await asyncio.sleep(0.05)


async def test_it_makes_calls_in_all_protocols_on_new_and_kept_connections_and_none_fails(
    samples: Samples, tmp_path: Path
) -> None:
    await listening(samples)
    async with name_server(Zone(HERE)) as server:
        options = [server, *samples.options(), "--new", "60", "--kept", "20", "--life", "1"]
        async with load(tmp_path, *options) as made:
            await until(lambda: len(made()) >= 500)
    calls = made()
    assert [call.failure for call in calls if call.failure] == []
    assert {(call.protocol, call.kept) for call in calls} == {
        (p, k) for p in PROTOCOLS for k in (True, False)
    }
    assert {call.answered_by for call in calls if not call.failure} - {""} == {"catalog@cloud"}
    new = [call for call in calls if not call.kept]
    assert len(new) / (max(c.ended for c in calls) - calls[0].began) >= 30  # of 60, on a busy machine


async def test_what_is_cut_or_refused_fails_and_nothing_else_does(samples: Samples, tmp_path: Path) -> None:
    await listening(samples)
    async with name_server(Zone(HERE)) as server, load(tmp_path, server, *samples.options()) as made:
        await until(lambda: len(made()) >= 100)
        samples.processes["tcp"].stop()
        await until(lambda: sum(bool(call.failure) for call in made()) >= 5)
    failed = [call for call in made() if call.failure]
    assert {call.protocol for call in failed} == {"TCP"}
    assert {call.kept for call in failed} >= {False}


async def test_a_name_that_does_not_exist_is_not_called_but_fails(samples: Samples, tmp_path: Path) -> None:
    async with name_server(Zone()) as server, load(tmp_path, server, *samples.options()) as made:
        await until(lambda: len(made()) >= 5)
    assert {call.failure for call in made()} == {f"{NAME} was answered with code 3"}
