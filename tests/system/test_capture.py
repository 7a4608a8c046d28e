"""Callers in a network of their own, and an egress that takes a whole range of addresses: IPv4 and IPv6.

Both ways of taking a range go through all of it: addresses made local, and redirected by the packet filter.

One cluster whose gateway is both egress and ingress, as a host of its own in a lab of network namespaces.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest
import pytest_asyncio

from clusters.model import Workload
from clusters.names import ServiceName
from clusters.services import LocalService, Port, ServicePort
from federation.demo.process import Process
from federation.demo.topology import Host, Lab
from gateway.kinds import CLUSTER, SECRET
from gateway.rules import ruleset
from gateway.spec import Capture, GatewaySpec, Role
from tests.builders import VIP_RANGES, imported
from tests.requirements import program
from tests.system.mesh import Cluster, Pki, until

pytestmark = [pytest.mark.envoy, pytest.mark.netns]

PORT = Port(8080, "greet")

SERVER = """
import asyncio, sys
async def answer(reader, writer):
    writer.write(b"hello\\n")
    await reader.read()
    writer.close()
async def main():
    async with await asyncio.start_server(answer, sys.argv[1], 18080) as server:
        await server.serve_forever()
asyncio.run(main())
"""

# Call each address and port of standard input from the address given, a hundred at a time; count who answers.
CALLER = """
import asyncio, sys
async def call(to):
    host, _, port = to.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(sys.argv[1], 0))
    except OSError:
        return False
    try:
        return await reader.readline() == b"hello\\n"
    except OSError:
        return False
    finally:
        writer.close()
async def main():
    todo = iter(sys.stdin.read().split())
    async def worker():
        return sum([await call(to) for to in todo])
    print(sum(await asyncio.gather(*(worker() for _ in range(100)))))
asyncio.run(main())
"""


# Call the address given, and say when the connection is open, and when it is cut.
HOLDER = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080)) as call:
    print(call.recv(16), flush=True)
    print(call.recv(16), flush=True)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    folder = tmp_path / "lab"
    folder.mkdir()
    with Lab(folder) as built:
        yield built


class Place:
    """A cluster with a gateway host and a host of callers, who reach the VIP ranges through it."""

    def __init__(self, lab: Lab, folder: Path, capture: Capture) -> None:
        self.gateway, self.app = lab.host("gateway"), lab.host("app")
        inside = {self.gateway: ["10.0.0.1/24", "fd00::1/64"]}
        inside[self.app] = ["10.0.0.11/24", "10.0.0.12/24", "fd00::11/64", "fd00::12/64"]
        lab.connect("inside", inside)
        for block, via, beyond in zip(
            VIP_RANGES, ("10.0.0.1", "fd00::1"), ("10.0.0.11", "fd00::11"), strict=True
        ):
            self.app.route(block.cidr, via=via)
            if capture is Capture.ANYIP:
                self.gateway.capture(block.cidr)
            else:  # a host like others has a way to anywhere; nothing may take it from here
                self.gateway.route("default", via=beyond)
        if capture is Capture.REDIRECT:
            self.gateway.run(["nft", "-f", "-"], text=ruleset("gw", VIP_RANGES, 15001))
        spec = GatewaySpec(
            "gw",
            frozenset(Role),
            capture,
            ingress_addresses=("10.0.0.1",),
            access_log=str(folder / "calls.log"),
        )
        authority = Pki().issuing_ca("onprem.fed.example")
        self.cluster = Cluster("onprem", spec, VIP_RANGES, authority, folder, command=self.gateway.command)
        self.app.start([sys.executable, "-c", SERVER, "10.0.0.11"], log=folder / "server.log")

    def offer(self, name: str, index: int, port: Port = PORT) -> None:
        """Offer `shop/NAME`, served by the host of callers itself."""
        view = self.cluster.view
        service = ServiceName("shop", name)
        local = LocalService(service, (ServicePort(port, 18080),), ("10.0.0.11",))
        callers = (
            Workload("shop", "frontend", ("10.0.0.11", "fd00::11")),
            Workload("shop", "beside", ("10.0.0.1", "fd00::1")),
        )
        offer = replace(view.offer, services={**view.offer.services, service: local}, workloads=callers)
        merged = imported(name, self.cluster.name, index=index, ports=(port,))
        members = {self.cluster.name: self.cluster.member}
        self.cluster.publish(
            replace(view, offer=offer, members=members, imports={**view.imports, service: merged})
        )

    def withdraw(self, name: str) -> None:
        """Offer `shop/NAME` no more."""
        view = self.cluster.view
        kept = {service: each for service, each in view.imports.items() if service.name != name}
        self.cluster.publish(replace(view, imports=kept))

    async def answered(self, vips: list[str], source: str, port: int = PORT.number) -> int:
        """How many of *vips* answer to calls from *source*, of whichever host; ADS is served meanwhile."""
        argv = [sys.executable, "-c", CALLER, source]
        host = self.gateway if source in ("10.0.0.1", "fd00::1") else self.app
        to = "\n".join(f"{vip}:{port}" for vip in vips)
        done = await asyncio.to_thread(host.run, argv, text=to, timeout=120)
        return int(done.stdout)

    async def subscribed(self) -> dict[str, int]:
        """How many names the gateway has asked for, by kind."""
        (status,) = self.cluster.ads.gateways()
        return {kind: status.kinds[kind].subscribed for kind in (CLUSTER, SECRET) if kind in status.kinds}

    async def allocated(self) -> int:
        """How much memory Envoy uses."""
        return int(json.loads(await self.cluster.admin.get("/memory"))["allocated"])


@pytest_asyncio.fixture(params=[Capture.ANYIP, Capture.REDIRECT])
async def place(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param is Capture.REDIRECT:
        program("nft")
    built = Place(lab, tmp_path, request.param)
    built.offer("catalog", 1)
    async with built.cluster.running():
        await built.cluster.settled()

        async def serves() -> bool:
            return await built.answered(["241.0.0.1"], "10.0.0.11") == 1

        await until(serves, what="the catalog to answer")
        yield built


async def test_both_families_of_a_vip_lead_to_the_service_as_the_caller_itself(place: Place) -> None:
    assert await place.answered(["241.0.0.1"] * 3, "10.0.0.11") == 3
    assert await place.answered(["fd5f:ed:6a7e::1"] * 3, "fd00::11") == 3

    async def logged() -> bool:
        return len(place.cluster.calls()) >= 6

    await until(logged, what="the calls to be logged")
    assert {c["peer"] for c in place.cluster.calls()} == {"spiffe://onprem.fed.example/ns/shop/sa/frontend"}


async def test_callers_on_the_gateways_own_host_are_who_they_are(place: Place) -> None:
    assert await place.answered(["241.0.0.1"] * 2, "10.0.0.1") == 2
    assert await place.answered(["fd5f:ed:6a7e::1"] * 2, "fd00::1") == 2

    async def logged() -> bool:
        peers = [call["peer"] for call in place.cluster.calls()]
        return peers.count("spiffe://onprem.fed.example/ns/shop/sa/beside") == 4

    await until(logged, what="the calls to be logged as the neighbour's")


async def test_unknown_sources_vips_and_ports_of_either_family_get_nowhere(place: Place) -> None:
    before = await place.subscribed()
    for known, unknown, source, stranger in (
        ("241.0.0.1", "241.0.0.2", "10.0.0.11", "10.0.0.12"),
        ("fd5f:ed:6a7e::1", "fd5f:ed:6a7e::2", "fd00::11", "fd00::12"),
    ):
        assert await place.answered([known] * 3, stranger) == 0
        assert await place.answered([unknown], source) == 0
        for port in (8081, 15001, 15008, 18080):
            assert await place.answered([known, unknown], source, port) == 0
    assert await place.subscribed() == before


async def test_the_gateways_own_addresses_are_no_way_in(place: Place) -> None:
    """Not by the ports that services have, nor by the one where redirected calls arrive."""
    before = await place.subscribed()
    for address, source in (("10.0.0.1", "10.0.0.11"), ("fd00::1", "fd00::11")):
        for port in (PORT.number, 15001):
            assert await place.answered([address], source, port) == 0
    assert await place.subscribed() == before


@pytest.mark.slow
async def test_a_flood_of_unknown_vips_leaves_nothing_behind_and_one_born_later_works(place: Place) -> None:
    before, memory = await place.subscribed(), await place.allocated()
    flood = [VIP_RANGES[0].address(index) for index in range(2, 20_002)]
    assert await place.answered(flood, "10.0.0.11") == 0
    assert await place.subscribed() == before
    assert await place.allocated() - memory < 1 << 20
    place.offer("late", 4711)
    await place.cluster.settled()
    assert await place.answered([VIP_RANGES[0].address(4711)], "10.0.0.11") == 1


async def test_a_port_that_comes_and_goes_cuts_no_open_connection(place: Place, tmp_path: Path) -> None:
    """Another port is another listener, and none that is there is touched."""
    log = tmp_path / "holder.log"
    holder = place.app.start([sys.executable, "-c", HOLDER, "241.0.0.1"], log=log)

    async def is_open() -> bool:
        return "hello" in log.read_text()

    await until(is_open, what="a connection that stays open")
    place.offer("other", 2, Port(9090, "tcp"))
    await place.cluster.settled()
    assert await place.answered(["241.0.0.2"], "10.0.0.11", 9090) == 1
    place.withdraw("other")
    await place.cluster.settled()
    assert await place.answered(["241.0.0.2"], "10.0.0.11", 9090) == 0
    assert holder.returncode is None


def test_a_gateway_loads_its_rules_and_takes_them_away_also_those_of_one_that_was_killed(
    lab: Lab, short_path: Path
) -> None:
    program("nft")
    host = lab.host("gateway")
    command = [
        sys.executable,
        "-m",
        "federation",
        "gateways",
        "run",
        "--name",
        "gw-1",
        "--capture",
        "redirect",
    ]
    command += ["--vip-range", "241.0.0.0/16", "--state", str(short_path), "--agent", str(short_path)]

    def tables() -> str:
        return host.run(["nft", "list", "tables"]).stdout

    first = started(host, command, short_path / "first.log")
    first.signal(signal.SIGKILL)
    first.wait(20)
    assert tables() == "table inet fedgate-gw-1\n"
    second = started(host, command, short_path / "second.log")
    assert tables() == "table inet fedgate-gw-1\n"
    second.signal(signal.SIGTERM)
    assert second.wait(20) == 0
    assert tables() == ""


def started(host: Host, command: list[str], log: Path) -> Process:
    """Run *command* until it says that its Envoy has started."""
    process = host.start(command, log=log)
    deadline = monotonic() + 20
    while "gateway started" not in log.read_text():
        assert process.returncode is None, process.tail()
        assert monotonic() < deadline, process.tail()
        sleep(0.05)
    return process
