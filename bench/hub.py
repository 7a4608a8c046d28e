"""What a hub bears: 500 agents, 10,000 services, one change for all, and 200 that come back at once.

The agents are crowds in processes of their own (`bench.crowd`), which share the machine with the hub. So what
all 500 hear in is how long hub and crowd take together; the hub's processor time is told beside it.
"""

import asyncio
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import msgspec

from bench import crowd, measure, stalls
from bench.report import Aim, Key, Report
from bench.stores import a_store
from federation.client import Admin, endpoint
from federation.errors import FederationError, StepFailed

T = TypeVar("T")

TOPIC: Final = "hub"
_CROWDS: Final = 2
_BUSIEST_FOR: Final = 200
_PATIENCE: Final = 300.0
_SETTLED: Final = 12.0  # by then the hub has given back what was free
_ADDRESS: Final = "127.0.0.1"
_LINE: Final = 64 << 20  # of JSON that a crowd answers with


async def measure_hub(report: Report, rounds: int, quick: bool) -> None:
    """The same on both stores."""
    agents, services = (40, 400) if quick else (500, 10_000)
    for store in ("SQLite", "etcd"):
        report.loads.append(measure.load())
        with tempfile.TemporaryDirectory(prefix="fb-") as name:
            await _measure(report, Path(name), store, agents, services, 4 * rounds)
    way = _way("SQLite", agents, services)
    report.aims.append(Aim("memory of the hub", Key(TOPIC, way, "memory", "MiB"), 256.0))
    for store in ("SQLite", "etcd"):
        way = _way(store, agents, services)
        for when in _WHEN:
            title = f"longest stall of the hub's loop, {store}, {when}"
            report.aims.append(Aim(title, Key(TOPIC, way, f"stall, {when}", "ms"), 10.0))


_WHEN: Final = ("a change", "a return")


def _way(store: str, agents: int, services: int) -> str:
    return f"{store}, {agents} agents, {services:,} services"


async def _measure(
    report: Report, folder: Path, store: str, agents: int, services: int, changes: int
) -> None:
    way = _way(store, agents, services)

    def add(what: str, unit: str, value: float) -> None:
        report.add(Key(TOPIC, way, what, unit), value)

    async with a_store(store, folder) as options, _hub(folder, options) as hub, _crowds(folder) as crowds:
        share = agents // _CROWDS
        began = time.monotonic()
        for n, each in enumerate(crowds):
            await each.do(int, "join", *[hub.token(f"c-{n}-{m}") for m in range(share)])
        add("all join", "s", time.monotonic() - began)
        began = time.monotonic()
        for each in crowds:
            await each.do(list[str], "publish", services // agents)
        await asyncio.gather(*(each.do(bool, "know", services) for each in crowds))
        add("all know all", "s", time.monotonic() - began)
        await asyncio.sleep(_SETTLED)
        add("memory", "MiB", measure.resident_kib(hub.pid) / 1024)
        for number in range(changes):
            before = measure.cpu([hub.pid])
            with hub.longest_stall() as stall:
                heard = await _change(crowds, "off" if number % 2 else "on")
            add("a change: half have heard", "ms", median(heard))
            add("a change: all have heard", "ms", max(heard))
            add("a change: cpu of the hub", "ms", (measure.cpu([hub.pid]) - before).all * 1e3)
            add("stall, a change", "ms", stall.wall)
            add("stall, a change, its own cpu", "ms", stall.cpu)
        returning = min(_BUSIEST_FOR, agents)
        with hub.longest_stall() as stall:
            parts = [each.do(list[float], "return", returning // _CROWDS) for each in crowds]
            back = [took for part in await asyncio.gather(*parts) for took in part]
        add(f"{returning} come back: half", "s", median(back))
        add(f"{returning} come back: all", "s", max(back))
        add("stall, a return", "ms", stall.wall)
        add("stall, a return, its own cpu", "ms", stall.cpu)
        add("memory afterwards", "MiB", measure.resident_kib(hub.pid) / 1024)


async def _change(crowds: "Sequence[_Crowd]", what: str) -> list[float]:
    """Change one service, and wait until all have heard of it: how many ms it took each."""
    await asyncio.sleep(0.5)
    name, began = await crowds[0].do(tuple[str, int], "change", what)
    parts = await asyncio.gather(*(each.do(list[int], "heard", name, what) for each in crowds))
    return [(at - began) / 1e6 for part in parts for at in part]


@dataclass(slots=True)
class _Stall:
    wall: float = 0.0
    cpu: float = 0.0


class _Hub:
    """A hub that runs, and its admin API."""

    def __init__(self, process: Process, state: Path, trace: Path) -> None:
        self.pid = process.pid
        self.admin = Admin(endpoint("hub", str(state)), 30)
        self._trace = trace

    def token(self, cluster: str) -> str:
        """A join token for *cluster*."""
        return str(self.admin.post("/v1/tokens", {"cluster": cluster, "ttl_seconds": 3600})["token"])

    def longest_stall(self) -> "_StallWatch":
        """The longest one until the block is left, in ms; 0 if none was worth noting."""
        return _StallWatch(self._trace)


class _StallWatch:
    def __init__(self, trace: Path) -> None:
        self._trace = trace
        self._stall = _Stall()

    def __enter__(self) -> _Stall:
        self._from = self._trace.stat().st_size
        return self._stall

    def __exit__(self, *_: object) -> None:
        with self._trace.open() as trace:
            trace.seek(self._from)
            noted = [tuple(map(int, line.split())) for line in trace if line.endswith("\n")]
        if noted:
            self._stall.wall = max(wall for _, wall, _ in noted) / 1e6
            self._stall.cpu = max(cpu for _, _, cpu in noted) / 1e6


@asynccontextmanager
async def _hub(folder: Path, options: Sequence[str]) -> AsyncIterator[_Hub]:
    """A hub on two ports of its own."""
    state, trace, log = folder / "hub", folder / "stalls", folder / "hub.log"
    trace.touch()
    argv = [sys.executable, "-P", stalls.__file__, str(trace), "hub", "--state", str(state)]
    argv += ["--listen", f"{_ADDRESS}:18550", "--sync-listen", f"{_ADDRESS}:18551"]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *argv, "--advertise", f"{_ADDRESS}:18550", *options, stdout=output, stderr=output
        )
    hub = _Hub(process, state, trace)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                hub.admin.get("/v1/clusters")
            except FederationError as error:
                if process.returncode is not None or time.monotonic() > deadline:
                    raise StepFailed("the hub did not start", log.read_text()[-2000:]) from error
                await asyncio.sleep(0.1)
            else:
                break
        yield hub
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class _Crowd:
    """A crowd in a process of its own."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def do(self, answer: type[T], *words: object) -> T:
        """Have it do something, and wait for its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        said = await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE)
        if not said:
            raise StepFailed("a crowd has ended", "")
        return msgspec.json.decode(said, type=answer)


@asynccontextmanager
async def _crowds(folder: Path) -> AsyncIterator[list[_Crowd]]:
    async with AsyncExitStack() as stack:
        made = []
        for n in range(_CROWDS):
            (home := folder / f"crowd-{n}").mkdir()
            argv = [sys.executable, "-m", crowd.__name__, str(home)]
            process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, limit=_LINE)
            stack.push_async_callback(process.wait)
            stack.callback(process.kill)
            made.append(_Crowd(process))
        yield made
