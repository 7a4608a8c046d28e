"""What grows with use: a gateway's memory with the services it has loaded, TLS connections with identities.

The first call of a service loads it at both gateways, so the same calls show what a first call takes.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench import measure
from bench.hops import answering
from bench.report import Aim, Key, Report
from bench.stage import BACKEND, CALLERS, INGRESS, Service, Stage, vip
from federation.demo.topology import Lab

MEMORY: Final = "gateway memory"
FIRST: Final = "first call of a service"
TLS: Final = "TLS connections between two gateways"
_ONE_BY_ONE: Final = 50
_AT_ONCE: Final = 8


async def measure_growth(report: Report, rounds: int, quick: bool) -> None:
    """Load 1,000 services and 10,000, each into gateways of their own."""
    for services in (1_000,) if quick else (1_000, 10_000):
        await _memory(report, services)
    way = "egress, 10,000 services"
    report.aims.append(Aim("memory a loaded service at the egress", Key(MEMORY, way, "each", "KiB"), 40.0))
    way = "ingress, 10,000 services"
    report.aims.append(Aim("memory a loaded service at the ingress", Key(MEMORY, way, "each", "KiB"), 40.0))


async def _memory(report: Report, services: int) -> None:
    report.loads.append(measure.load())
    names = [Service(f"service-{number}", 8080) for number in range(1, services + 1)]
    with tempfile.TemporaryDirectory(prefix="fb") as name, Lab(Path(name)) as lab:
        stage = Stage(lab, Path(name))
        stage.start_envoy("backend", answering(BACKEND, "hello\n"))
        await stage.answers(BACKEND)
        async with stage.gateways(names):
            pids = {
                role: stage.pids[f"fedgate-{of}"] for role, of in (("egress", "onprem"), ("ingress", "cloud"))
            }
            seen = await _call(stage, range(1, 2), CALLERS[:1])
            if services == 1_000:
                report.add(Key(FIRST, "the very first", "p50", "ms"), seen[0])
            before = {role: measure.resident_kib(pid) for role, pid in pids.items()}
            alone = await _call(stage, range(2, _ONE_BY_ONE + 2), CALLERS[:1])
            again = await _call(stage, range(2, _ONE_BY_ONE + 2), CALLERS[:1])
            for way, took in ((f"new, of {services:,}", alone), (f"loaded, of {services:,}", again)):
                report.add(Key(FIRST, way, "p50", "ms"), median(took))
                report.add(Key(FIRST, way, "p99", "ms"), max(took))
            rest = range(_ONE_BY_ONE + 2, services + 1)
            await asyncio.gather(*(_call(stage, rest[n::_AT_ONCE], CALLERS[:1]) for n in range(_AT_ONCE)))
            for role, pid in pids.items():
                after, way = measure.resident_kib(pid), f"{role}, {services:,} services"
                report.add(Key(MEMORY, way, "none loaded", "MiB"), before[role] / 1024)
                report.add(Key(MEMORY, way, "all loaded", "MiB"), after / 1024)
                report.add(Key(MEMORY, way, "each", "KiB"), (after - before[role]) / (services - 1))


async def measure_tls(report: Report, rounds: int, quick: bool) -> None:
    """20 services called from 10 identities, all at once: how many connections carry that."""
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="fb") as name, Lab(Path(name)) as lab:
            stage = Stage(lab, Path(name))
            stage.start_envoy("backend", answering(BACKEND, "hello\n"))
            await stage.answers(BACKEND)
            async with stage.gateways([Service(f"s-{n}", 8080) for n in range(20)], concurrency=workers):
                await asyncio.sleep(2.0)
                probes = await _dialled(stage)
                holding = asyncio.create_task(_call(stage, range(1, 21), CALLERS, hold=4.0))
                await asyncio.sleep(3.0)
                open_now = await _dialled(stage)
                await holding
        way = f"20 services x {len(CALLERS)} identities, {workers} worker{'s' * (workers > 1)}"
        key = Key(TLS, way, "of calls", "connections")
        report.add(Key(TLS, way, "of the probe", "connections"), probes)
        report.add(key, open_now - probes)
        report.aims.append(Aim(f"TLS connections, {way}", key, float(len(CALLERS) * workers)))


async def _dialled(stage: Stage) -> int:
    """How many connections are open to the ingress."""
    said = await stage.run(["ss", "-tnH", "state", "established", "dport", f"= :{INGRESS[1]}"])
    return len(said.splitlines())


async def _call(
    stage: Stage, indexes: Iterable[int], sources: Sequence[str], hold: float = 0.0
) -> list[float]:
    """Call each service once from each of *sources*; gives the milliseconds from dialling to the answer.

    With *hold*, all connections stay open until that many seconds after the first.
    """
    targets = [(source, vip(index)) for index in indexes for source in sources]
    program = ["-c", _CALLS, str(hold)]
    lines = "\n".join(f"{source} {address}" for source, address in targets)
    path = stage.folder / f"calls-{time.monotonic_ns()}"
    path.write_text(lines)
    said = await stage.run([stage.python, *program, str(path)])
    return msgspec.json.decode(said, type=list[float])


_CALLS: Final = """
import json, socket, sys, time
hold, path = float(sys.argv[1]), sys.argv[2]
took, kept, began = [], [], time.monotonic()
for line in open(path):
    source, address = line.split()
    started = time.perf_counter()
    connection = socket.create_connection((address, 8080), 30, (source, 0))
    connection.sendall(b"GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n")
    if b" 200 " not in connection.recv(4096):
        sys.exit(f"no answer from {address}")
    took.append((time.perf_counter() - started) * 1e3)
    kept.append(connection) if hold else connection.close()
time.sleep(max(0.0, began + hold - time.monotonic()))
print(json.dumps(took))
"""
