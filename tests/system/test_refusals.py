"""What is refused, and when: at once, with nothing left behind. Two real Envoys."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.model import GatewayRecord, Workload
from clusters.names import ServiceName
from clusters.services import CallerPattern
from gateway.kinds import CLUSTER, SECRET
from tests.system.mesh import Cluster, Mesh, connect, first_line, greet, mesh, until
from tests.system.test_identity import identity, source, with_catalog

pytestmark = pytest.mark.envoy

CATALOG = ServiceName("shop", "catalog")


async def stays_closed(to: tuple[str, int], source_address: str) -> None:
    """A caller that says nothing is closed too: nobody waits for its first byte."""
    reader, writer = await connect(to, source_address)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def dialled(cluster: Cluster) -> int:
    """How many connections to other gateways there have been."""
    return await cluster.stat(r"^cluster\.gw\|.*\.upstream_cx_total$")


def asked_for(cluster: Cluster, kind: str) -> int:
    (gateway,) = cluster.ads.gateways()
    return gateway.kinds[kind].subscribed if kind in gateway.kinds else 0


async def test_an_unknown_source_is_refused_before_anything_is_asked_for_or_dialled(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_catalog(built, callers=1)
        onprem = built["onprem"]
        secrets = asked_for(onprem, SECRET)
        await stays_closed(to, source(built, 99))
        assert await first_line(to, source(built, 99)) == ""
        assert await dialled(onprem) == 0
        assert asked_for(onprem, CLUSTER) == 0
        assert asked_for(onprem, SECRET) == secrets
        assert await first_line(to, source(built, 1))


async def test_an_address_that_two_workloads_claim_is_nobodys(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_catalog(built, callers=2)
        built.caller("onprem", "greedy", source(built, 1))
        await built["onprem"].settled()
        await stays_closed(to, source(built, 1))
        assert await dialled(built["onprem"]) == 0
        assert await first_line(to, source(built, 2))


async def test_a_workload_that_comes_or_goes_changes_new_connections_and_cuts_no_open_one(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path) as built:
        to = await with_catalog(built, callers=2)
        onprem = built["onprem"]
        reader, writer = await connect(to, source(built, 1))
        await reader.readline()
        onprem.change(workloads=(Workload("shop", "w2", (source(built, 2),)),))
        await onprem.settled()
        await stays_closed(to, source(built, 1))
        built.caller("onprem", "w3", source(built, 3))
        await onprem.settled()
        assert await built["cloud"].caller_of(await first_line(to, source(built, 3))) == identity(built, 3)
        await asyncio.sleep(1.5)  # longer than a changed listener takes to drain
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()


def allow(built: Mesh, *patterns: str) -> None:
    """Change who may call the catalog."""
    cloud = built["cloud"]
    service = cloud.view.offer.services[CATALOG]
    stricter = replace(service, allow=tuple(CallerPattern(pattern) for pattern in patterns))
    cloud.change(services={**cloud.view.offer.services, CATALOG: stricter})


async def test_a_changed_rule_acts_on_the_next_call_and_cuts_no_connection(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_catalog(built)
        cloud = built["cloud"]
        reader, writer = await connect(to, source(built, 1))
        await reader.readline()
        allow(built, identity(built, 2))
        await cloud.settled()
        assert await first_line(to, source(built, 1)) == ""
        assert await first_line(to, source(built, 2))
        allow(built, identity(built, 2), "spiffe://onprem.fed.example/ns/shop/*")
        await cloud.settled()
        assert await first_line(to, source(built, 1))
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
        assert await dialled(built["onprem"]) == 2  # one for each caller, from the first call on


async def test_a_member_that_is_shut_out_loses_its_connections_and_nobody_else_does(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_catalog(built)
        cloud = built["cloud"]
        built.caller("cloud", "neighbour", cloud.address(2, 1))
        await cloud.settled()
        at_home = built.vip("cloud", "catalog")
        ours = await connect(to, source(built, 1))
        theirs = await connect(at_home, cloud.address(2, 1))
        for reader, _ in (ours, theirs):
            assert await reader.readline()
        cloud.publish_members({c: m for c, m in cloud.view.members.items() if c != "onprem"})
        assert await asyncio.wait_for(ours[0].read(), 5) == b""
        assert await first_line(to, source(built, 1)) == ""
        theirs[1].write(b"still here\n")
        assert await theirs[0].readline() == b"still here\n"
        for _, writer in (ours, theirs):
            writer.close()


async def test_a_service_without_ready_endpoints_refuses_at_once_and_works_when_it_has_some(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path) as built:
        built.service("late", {"cloud": []})
        built.caller("onprem", "w1", source(built, 1))
        await built["onprem"].settled()
        assert await first_line(built.vip("onprem", "late"), source(built, 1), timeout=2) == ""
        cloud = built["cloud"]
        port = await built.serve(cloud.address(3, 1), greet)
        built.service("late", {"cloud": [(cloud.address(3, 1), port)]}, again=True)
        await built["onprem"].settled()
        await cloud.settled()

        async def answers() -> bool:
            return await first_line(built.vip("onprem", "late"), source(built, 1)) != ""

        await until(answers, what="the endpoint to be called")


async def test_a_dead_endpoint_is_passed_over_for_one_that_answers(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        cloud = built["cloud"]
        port = await built.serve(cloud.address(3, 2), greet)
        dead, alive = cloud.address(3, 1), cloud.address(3, 2)
        built.service("half", {"cloud": [(dead, port), (alive, port)]})
        built.caller("onprem", "w1", source(built, 1))
        await built["onprem"].settled()
        to = built.vip("onprem", "half")
        assert all([await first_line(to, source(built, 1)) for _ in range(10)])


def with_gateways(built: Mesh, *gateways: GatewayRecord) -> None:
    """Say that `cloud` has other gateways."""
    onprem, cloud = built["onprem"], built["cloud"]
    members = {**onprem.view.members, cloud.name: replace(cloud.member, gateways=gateways)}
    onprem.publish_members(members)


async def test_a_dead_gateway_is_passed_over_for_one_that_answers(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        cloud = built["cloud"]
        to = await with_catalog(built, callers=10)
        (alive,) = cloud.member.gateways
        dead = replace(alive, name="dead", addresses=(cloud.address(1, 2),))
        with_gateways(built, dead, alive)
        await built["onprem"].settled()
        assert all([await first_line(to, source(built, number)) for number in range(1, 11)])


async def test_a_gateway_is_reached_by_whichever_of_its_addresses_answers(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        cloud = built["cloud"]
        to = await with_catalog(built, callers=3)
        (alive,) = cloud.member.gateways
        with_gateways(built, replace(alive, addresses=(cloud.address(1, 2), *alive.addresses)))
        await built["onprem"].settled()
        assert all([await first_line(to, source(built, number)) for number in range(1, 4)])
