"""How many questions a second the name server answers, in one process with 10,000 services.

They come from dnsperf where it is installed, else from a child process of our own that keeps a fixed number
under way; figures are for answers received, and for the processor time that the server alone used.
"""

import asyncio
import multiprocessing
import re
import shutil
import socket
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from bench import measure
from bench.report import Key, Report
from clusters.model import ClusterView, Federation, Import, Offering, VipRange
from clusters.names import ClusterName, ServiceName
from clusters.services import Port
from federation.dns.message import RecordType, question_key, wire_name
from federation.dns.server import DnsServer
from federation.dns.zone import Zone

TOPIC: Final = "DNS"
SERVICES: Final = 10_000
UNDER_WAY: Final = 200
CLOUD = ClusterName("cloud")


def world() -> ClusterView:
    """A clusterset of many services."""
    ranges = (VipRange("241.0.0.0/16"), VipRange("fd5f:ed:6a7e::/112"))
    ports = (Port(8080, "http"),)
    names = [ServiceName("shop", f"service-{index}") for index in range(1, SERVICES + 1)]
    imports = {
        name: Import(name, index, ports, (Offering(CLOUD, ports, 1),)) for index, name in enumerate(names, 1)
    }
    return ClusterView(CLOUD, Federation("fed.example", (), ranges), ranges, imports=imports)


def load(port: int, seconds: float, told: Connection) -> None:
    """Ask until the time is over; a question that is lost is replaced when nothing comes for a while."""
    header = b"\0\0\1\0\0\1\0\0\0\0\0\0"
    questions = [
        header + question_key(wire_name(f"service-{index}.shop.svc.clusterset.local"), RecordType.A)
        for index in range(1, SERVICES + 1)
    ]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", port))
    client.settimeout(0.1)
    asked = answered = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while asked < UNDER_WAY:
            client.send(questions[(answered + asked) % SERVICES])
            asked += 1
        try:
            client.recv(1232)
            answered += 1
            asked -= 1
        except TimeoutError:
            asked = 0
    told.send(answered)


async def measure_dns(report: Report, rounds: int, quick: bool) -> None:
    """Serve while somebody asks."""
    seconds = 1 if quick else 3
    started = time.perf_counter()
    zone = Zone(world())
    report.add(Key(TOPIC, "zone", "made in", "s"), time.perf_counter() - started)
    server = DnsServer.bind(["127.0.0.1:0"], zone)
    port = int(server.addresses[0].rpartition(":")[2])
    task = asyncio.create_task(server.run())
    ask, way = (_dnsperf, "dnsperf") if shutil.which("dnsperf") else (_child, "our own load")
    try:
        for _ in range(rounds):
            report.loads.append(measure.load())
            before = time.process_time()
            answered = await ask(port, seconds)
            used = time.process_time() - before
            report.add(Key(TOPIC, way, "answers", "1/s"), answered / seconds)
            report.add(Key(TOPIC, way, "a second of the server's cpu", "answers"), answered / used)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _dnsperf(port: int, seconds: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        questions = Path(folder) / "questions"
        questions.write_text(
            "".join(f"service-{n}.shop.svc.clusterset.local A\n" for n in range(1, SERVICES + 1))
        )
        argv = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions), "-l", str(seconds)]
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
    found = re.search(r"Queries completed: +(\d+)", out.decode())
    if found is None:
        raise RuntimeError(f"dnsperf said: {out.decode()[-500:]}")
    return int(found[1])


async def _child(port: int, seconds: int) -> int:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=load, args=(port, seconds, theirs))
    child.start()
    answered: int = await asyncio.to_thread(ours.recv)
    child.join()
    return answered
