"""Callers in a network of their own, and an egress that takes a whole range of addresses: IPv4 and IPv6.

One cluster whose gateway is both egress and ingress, as a host of its own in a lab of network namespaces.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from clusters.model import LocalService, Port, ServiceName, ServicePort, Workload
from federation.demo.topology import Lab
from gateway.kinds import CLUSTER, SECRET
from gateway.spec import GatewaySpec, Role
from tests.builders import VIP_RANGES, imported
from tests.system.mesh import Cluster, Pki, until

pytestmark = [pytest.mark.envoy, pytest.mark.netns]

PORT = Port(8080, "http")

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

# Call each address of standard input from the address given, a hundred at a time; print how many answered.
CALLER = """
import asyncio, sys
async def call(to):
    try:
        reader, writer = await asyncio.open_connection(to, 8080, local_addr=(sys.argv[1], 0))
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    folder = tmp_path / "lab"
    folder.mkdir()
    with Lab(folder) as built:
        yield built


class Place:
    """A cluster with a gateway host and a host of callers, who reach the VIP ranges through it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.gateway, self.app = lab.host("gateway"), lab.host("app")
        inside = {self.gateway: ["10.0.0.1/24", "fd00::1/64"]}
        inside[self.app] = ["10.0.0.11/24", "10.0.0.12/24", "fd00::11/64", "fd00::12/64"]
        lab.connect("inside", inside)
        for block, via in zip(VIP_RANGES, ("10.0.0.1", "fd00::1"), strict=True):
            self.gateway.capture(block.cidr)
            self.app.route(block.cidr, via=via)
        spec = GatewaySpec(
            "gw", frozenset(Role), ingress_addresses=("10.0.0.1",), access_log=str(folder / "calls.log")
        )
        authority = Pki().issuing_ca("onprem.fed.example")
        self.cluster = Cluster("onprem", spec, VIP_RANGES, authority, folder, command=self.gateway.command)
        self.app.start([sys.executable, "-c", SERVER, "10.0.0.11"], log=folder / "server.log")

    def offer(self, name: str, index: int) -> None:
        """Offer `shop/NAME`, served by the host of callers itself."""
        view = self.cluster.view
        service = ServiceName("shop", name)
        local = LocalService(service, (ServicePort(PORT, 18080),), ("10.0.0.11",))
        caller = Workload("shop", "frontend", ("10.0.0.11", "fd00::11"))
        offer = replace(view.offer, services={**view.offer.services, service: local}, workloads=(caller,))
        merged = imported(name, self.cluster.name, index=index, ports=(PORT,))
        members = {self.cluster.name: self.cluster.member}
        self.cluster.publish(
            replace(view, offer=offer, members=members, imports={**view.imports, service: merged})
        )

    async def answered(self, vips: list[str], source: str) -> int:
        """How many of *vips* answer to calls from *source*; ADS is served meanwhile."""
        argv = [sys.executable, "-c", CALLER, source]
        done = await asyncio.to_thread(self.app.run, argv, text="\n".join(vips), timeout=120)
        return int(done.stdout)

    async def subscribed(self) -> dict[str, int]:
        """How many names the gateway has asked for, by kind."""
        (status,) = self.cluster.ads.gateways()
        return {kind: status.kinds[kind].subscribed for kind in (CLUSTER, SECRET) if kind in status.kinds}

    async def allocated(self) -> int:
        """How much memory Envoy uses."""
        return int(json.loads(await self.cluster.admin.get("/memory"))["allocated"])


@pytest_asyncio.fixture
async def place(lab: Lab, tmp_path: Path) -> AsyncIterator[Place]:
    built = Place(lab, tmp_path)
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


async def test_unknown_sources_of_either_family_get_nowhere(place: Place) -> None:
    before = await place.subscribed()
    assert await place.answered(["241.0.0.1"] * 3, "10.0.0.12") == 0
    assert await place.answered(["fd5f:ed:6a7e::1"] * 3, "fd00::12") == 0
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
