"""Who a caller is at the far side: itself, always, and nobody else, ever. Two real Envoys."""

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from gateway import names
from gateway.kinds import CLUSTER, LISTENER
from pki.spiffe import SpiffeId, gateway_id, workload_id
from tests.system.edits import replacing
from tests.system.mesh import Mesh, connect, first_line, greet, mesh, until

pytestmark = pytest.mark.envoy

HASHABLE, NOT_HASHABLE = "envoy.hashable_string", "envoy.string"


async def with_catalog(built: Mesh, *, callers: int = 2, allow: tuple[str, ...] = ()) -> tuple[str, int]:
    """`shop/catalog` in `cloud`, and callers `w1`, `w2`… in `onprem`; returns where to call it."""
    cloud = built["cloud"]
    port = await built.serve(cloud.address(3, 1), greet)
    built.service("catalog", {"cloud": [(cloud.address(3, 1), port)]}, allow=allow)
    for number in range(1, callers + 1):
        built.caller("onprem", f"w{number}", source(built, number))
    await built["onprem"].settled()
    await built["cloud"].settled()
    return built.vip("onprem", "catalog")


def source(built: Mesh, number: int) -> str:
    return built["onprem"].address(2, number)


def identity(built: Mesh, number: int) -> str:
    return str(workload_id(built["onprem"].trust_domain, "shop", f"w{number}"))


class RollCall:
    """A server that is told by each caller who it is, and remembers it beside the address it sees."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        turn = len(self.calls)
        self.calls.append((f"{host}:{port}", ""))
        async for line in reader:
            self.calls[turn] = (f"{host}:{port}", line.decode().strip())
            writer.write(line)


async def call_as(built: Mesh, to: tuple[str, int], number: int, calls: int) -> None:
    """Make calls from one source, every other one on a connection that is kept."""
    name = f"{identity(built, number)}\n".encode()
    kept = await connect(to, source(built, number))
    for _ in range(calls // 2):
        fresh = await connect(to, source(built, number))
        for reader, writer in (kept, fresh):
            writer.write(name)
            assert await reader.readline() == name
        fresh[1].close()
    kept[1].close()


async def all_call(built: Mesh, sources: int, calls: int) -> None:
    """Have every source call at once, and compare what each call said of itself with whom the ingress saw."""
    roll = RollCall()
    cloud = built["cloud"]
    port = await built.serve(cloud.address(3, 9), roll.answer)
    built.service("roll", {"cloud": [(cloud.address(3, 9), port)]})
    await built["onprem"].settled()
    to = built.vip("onprem", "roll")
    await asyncio.gather(*(call_as(built, to, number, calls) for number in range(1, sources + 1)))
    expected = sources * (calls // 2 + 1)

    async def all_logged() -> bool:
        return len([line for line in cloud.calls() if line["authority"].startswith("roll.")]) == expected

    await until(all_logged, what="every call to be logged")
    # Ports are used again, so calls are told apart by address and then by order.
    said, logged = defaultdict(list), defaultdict(list)
    for peer, name in roll.calls:
        said[peer].append(name)
    for line in cloud.calls():
        if line["authority"].startswith("roll."):
            logged[line["upstream_local"]].append(line["peer"])
    assert said == logged
    assert {name for names_ in said.values() for name in names_} == {
        identity(built, number) for number in range(1, sources + 1)
    }


async def test_everyone_is_seen_as_oneself_and_connections_are_shared_by_all_services(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        await with_catalog(built, callers=8)
        await all_call(built, 8, 20)
        for other in range(5):
            port = await built.serve(built["cloud"].address(3, 2 + other), greet)
            built.service(f"other-{other}", {"cloud": [(built["cloud"].address(3, 2 + other), port)]})
        await built["onprem"].settled()
        await built["cloud"].settled()
        for other in range(5):
            assert await first_line(built.vip("onprem", f"other-{other}"), source(built, 1))
        assert await built["onprem"].stat(r"^cluster\.gw\|cloud\.upstream_cx_total$") == 8


@pytest.mark.slow
async def test_fifty_sources_with_two_hundred_calls_each_are_never_confused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        await with_catalog(built, callers=50)
        await all_call(built, 50, 200)
        assert await built["onprem"].stat(r"^cluster\.gw\|cloud\.upstream_cx_total$") == 50


async def test_without_a_hashable_identity_all_would_ride_on_the_first_ones(tmp_path: Path) -> None:
    """The trap that `envoy.hashable_string` is there for: this is what happens without."""
    async with mesh(tmp_path, edit=replacing(LISTENER, HASHABLE, NOT_HASHABLE)) as built:
        to = await with_catalog(built)
        first = await first_line(to, source(built, 1))
        other = await first_line(to, source(built, 2))
        assert await built["cloud"].caller_of(first) == identity(built, 1)
        assert await built["cloud"].caller_of(other) == identity(built, 1)


async def test_an_identity_that_gets_lost_on_the_way_lets_nobody_out(tmp_path: Path) -> None:
    """`ONCE` stops at the internal listener; then the mapper's default decides, which is nobody's."""
    async with mesh(tmp_path, edit=replacing(LISTENER, "TRANSITIVE", "ONCE")) as built:
        to = await with_catalog(built)
        assert await first_line(to, source(built, 1), timeout=1) == ""
        assert not built["cloud"].calls()


async def test_with_any_other_default_a_lost_identity_would_be_somebody_elses(tmp_path: Path) -> None:
    """The trap that the default `src/none` is there for: this is what happens without."""
    once = replacing(LISTENER, "TRANSITIVE", "ONCE")
    async with mesh(tmp_path, edit=once) as built:
        default = names.source_secret(source(built, 1))
        built["onprem"].edit = lambda kind, r: once(
            kind, replacing(CLUSTER, names.NO_SOURCE, default)(kind, r)
        )
        built["onprem"].publish_again()
        to = await with_catalog(built)
        other = await first_line(to, source(built, 2))
        assert await built["cloud"].caller_of(other) == identity(built, 1)


async def test_an_id_of_another_cluster_is_refused_by_its_san(tmp_path: Path) -> None:
    """No authority of ours signs it, so this one is signed by an authority without constraints."""
    async with mesh(tmp_path, constrained=False) as built:
        to = await with_catalog(built)
        assert await first_line(to, source(built, 1))
        stolen = workload_id(built["cloud"].trust_domain, "shop", "w2")
        built["onprem"].certify(source(built, 2), stolen)
        assert await first_line(to, source(built, 2)) == ""
        assert await built["cloud"].stat(r"ssl\.fail_verify_san$") > 0


async def test_an_id_of_another_cluster_is_refused_by_the_name_constraints_of_the_issuer(
    tmp_path: Path,
) -> None:
    anybody = replacing(LISTENER, "spiffe://onprem.fed.example/ns/", "spiffe://")
    async with mesh(tmp_path, edit=anybody) as built:
        to = await with_catalog(built)
        stolen = workload_id(built["cloud"].trust_domain, "shop", "w2")
        built["onprem"].certify(source(built, 2), stolen)
        assert await first_line(to, source(built, 1))
        assert await first_line(to, source(built, 2)) == ""
        assert await built["cloud"].stat(r"ssl\.fail_verify_error$") > 0


@pytest.mark.parametrize(
    "pose",
    [
        workload_id("cloud.fed.example", "shop", "w1"),
        gateway_id("cloud.fed.example", "egress", "gw"),
        SpiffeId("cloud.fed.example", "/agent"),
    ],
    ids=["workload", "egress", "agent"],
)
async def test_what_is_not_an_ingress_is_not_believed_to_be_one(pose: SpiffeId, tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        built["cloud"].pose_as(pose)
        to = await with_catalog(built)
        assert await first_line(to, source(built, 1)) == ""
        assert await built["onprem"].stat(r"^cluster\.gw\|cloud.*ssl\.fail_verify_san$") > 0


async def test_a_gateway_may_not_call_a_service(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_catalog(built)
        built["onprem"].certify(source(built, 1), gateway_id(built["onprem"].trust_domain, "egress", "gw"))
        assert await first_line(to, source(built, 1)) == ""
        assert await built["cloud"].stat(r"^http\.ingress\.rbac\.denied$") > 0
