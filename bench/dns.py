"""How many questions a second the name server answers in one process: `python bench/dns.py [SECONDS]`.

A child process keeps a fixed number of questions under way over UDP; figures are for answers received, and
for the CPU time that the server alone used.
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from multiprocessing.connection import Connection

import uvloop

from clusters.model import ClusterName, ClusterView, Federation, Import, Offering, Port, ServiceName, VipRange
from federation.dns.message import RecordType, question_key, wire_name
from federation.dns.server import DnsServer
from federation.dns.zone import Zone

SERVICES = 10_000
UNDER_WAY = 200
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


async def measure(seconds: float) -> None:
    """Serve while the child asks, and print what came of it."""
    started = time.perf_counter()
    zone = Zone(world())
    print(f"zone of {SERVICES} services ready in {time.perf_counter() - started:.2f} s")
    server = DnsServer.bind(["127.0.0.1:0"], zone)
    port = int(server.addresses[0].rpartition(":")[2])
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=load, args=(port, seconds, theirs))
    task = asyncio.create_task(server.run())
    child.start()
    before = time.process_time()
    answered: int = await asyncio.to_thread(ours.recv)
    used = time.process_time() - before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    child.join()
    print(f"{answered / seconds:,.0f} answers/s, {answered / used:,.0f} for each second of the server's CPU")


if __name__ == "__main__":
    uvloop.run(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0))
