"""Where a call goes when something is away, and what that costs it. Three clusters, a real Envoy in each."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from clusters.model import GatewayRecord, Locality
from clusters.names import ServiceName
from clusters.services import CallerPattern, TrafficPolicy
from gateway.delta import Resource
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER
from gateway.messages import resource
from gateway.spec import GatewaySpec, Role
from tests.system.edits import Edit, replacing, unpacked
from tests.system.mesh import Cluster, Handler, Mesh, as_translated, connect, free_port, mesh, until

pytestmark = pytest.mark.envoy

NAMES = ("onprem", "cloud", "edge")
SHOP = ServiceName("shop", "shop")


def saying(name: str) -> Handler:
    """A server that says where it runs, and then repeats what it hears."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name}\n".encode())
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()

    return handler


@asynccontextmanager
async def shop(folder: Path, *at: str, edit: Edit = as_translated) -> AsyncIterator[Mesh]:
    """Three clusters, with `shop/shop` in those of *at* (everywhere by default), called from `onprem`."""
    async with mesh(folder, clusters=NAMES, edit=edit) as built:
        places = {}
        for name in at or NAMES:
            cluster = built[name]
            places[name] = [(cluster.address(3, 1), await built.serve(cluster.address(3, 1), saying(name)))]
        built.service("shop", places)
        built.caller("onprem", "caller", built["onprem"].address(2, 1))
        await settled(built)
        yield built


async def settled(built: Mesh) -> None:
    for cluster in built.clusters.values():
        await cluster.settled()


async def call(built: Mesh, service: str = "shop") -> tuple[str, float]:
    """Who answers a new connection, and after how many seconds; empty if it is closed."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(8):
            reader, writer = await connect(built.vip("onprem", service), built["onprem"].address(2, 1))
            who = (await reader.readline()).decode().strip()
            writer.close()
    except (ConnectionError, TimeoutError):
        who = ""
    return who, loop.time() - started


async def calls(built: Mesh, count: int, service: str = "shop") -> tuple[set[str], float]:
    """Who answers *count* calls, one after the other, and what the usual one took: some find no CPU."""
    made = [await call(built, service) for _ in range(count)]
    return {who for who, _ in made}, median(took for _, took in made)


async def test_many_calls_at_once_are_all_taken_elsewhere(tmp_path: Path) -> None:
    async with shop(tmp_path, "onprem", "cloud") as built:
        without_endpoints(built["onprem"])
        await settled(built)
        made = await asyncio.gather(*(call(built) for _ in range(200)))
        assert {who for who, _ in made} == {"cloud"}


def without_endpoints(cluster: Cluster, service: ServiceName = SHOP) -> None:
    """Let the endpoints be dead, and nobody know it yet."""
    services = cluster.view.offer.services
    dead = replace(services[service], endpoints=(cluster.address(3, 9),))
    cluster.change(services={**services, service: dead})


# --- an ingress without a live endpoint ---------------------------------------------------------------


async def test_a_cluster_without_a_live_endpoint_is_passed_over_in_the_same_connect(tmp_path: Path) -> None:
    async with shop(tmp_path) as built:
        assert (await calls(built, 1))[0] == {"onprem"}
        without_endpoints(built["onprem"])
        await settled(built)
        assert (await calls(built, 30))[0] == {"cloud"}
        without_endpoints(built["cloud"])
        await settled(built)
        assert (await calls(built, 30))[0] == {"edge"}


async def test_who_has_no_endpoint_for_one_service_is_still_the_first_for_others(tmp_path: Path) -> None:
    async with shop(tmp_path) as built:
        onprem, cloud = built["onprem"], built["cloud"]
        other = {
            str(c.name): [(c.address(3, 2), await built.serve(c.address(3, 2), saying(f"other-{c.name}")))]
            for c in (onprem, cloud)
        }
        built.service("other", other)
        without_endpoints(onprem)
        await settled(built)
        for _ in range(10):
            assert (await call(built))[0] == "cloud"
            assert (await call(built, "other"))[0] == "other-onprem"


async def test_a_service_that_an_ingress_does_not_know_any_more_is_asked_for_elsewhere(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as built:
        built["onprem"].change(services={})
        await settled(built)
        assert (await calls(built, 10))[0] == {"cloud"}


async def test_without_the_codes_to_ask_again_for_all_those_calls_would_fail(tmp_path: Path) -> None:
    codes = replacing(LISTENER, "retriable-status-codes", "refused-stream")
    async with shop(tmp_path, edit=codes) as built:
        without_endpoints(built["onprem"])
        await settled(built)
        assert (await calls(built, 10))[0] == {""}


async def test_a_caller_that_is_not_allowed_at_home_is_not_let_in_elsewhere(tmp_path: Path) -> None:
    async with shop(tmp_path) as built:
        onprem = built["onprem"]
        services = onprem.view.offer.services
        nobody = replace(services[SHOP], allow=(CallerPattern("spiffe://onprem.fed.example/ns/x/sa/y"),))
        onprem.change(services={SHOP: nobody})
        await settled(built)
        assert (await calls(built, 3))[0] == {""}


# --- a gateway that is gone -----------------------------------------------------------------------------


async def test_a_dead_gateway_is_passed_over_at_once_and_taken_again_when_it_is_back(tmp_path: Path) -> None:
    async with shop(tmp_path, "cloud", "edge") as built:
        assert (await calls(built, 3))[0] == {"cloud"}
        await built["cloud"].kill()
        who, usual = await calls(built, 15)
        print(f"a dead gateway cost {usual * 1000:.0f} ms")
        assert who == {"edge"}
        assert usual < 0.5  # a few milliseconds on a machine that has nothing else to do
        await built["cloud"].start()
        await back(built, "cloud")


async def back(built: Mesh, name: str) -> None:
    """Wait until calls go to *name* again, without one that fails."""

    async def is_back() -> bool:
        who, _ = await call(built)
        assert who
        return who == name

    await until(is_back, what=f"calls to go to {name} again")


async def test_a_gateway_that_answers_nothing_is_waited_for_once_and_its_callers_are_taken_elsewhere(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, "cloud", "edge") as built:
        assert (await calls(built, 3))[0] == {"cloud"}
        built["cloud"].freeze()
        who, first = await call(built)
        others, usual = await calls(built, 10)
        built["cloud"].thaw()
        print(f"a frozen gateway cost {first:.2f} s once, then {usual * 1000:.0f} ms")
        assert who == "edge"
        assert others == {"edge"}
        assert first < 5  # 1.6 s on a machine that has nothing else to do
        assert usual < 0.5
        await back(built, "cloud")


async def test_what_a_caller_says_first_arrives_once_though_its_gateway_died(tmp_path: Path) -> None:
    """Safe for whatever must not be repeated: it waits until someone has agreed to take it."""
    body = b"POST me once\n" * 1000
    async with shop(tmp_path, "cloud", "edge") as built:
        assert (await calls(built, 3))[0] == {"cloud"}
        await built["cloud"].kill()
        reader, writer = await connect(built.vip("onprem", "shop"), built["onprem"].address(2, 1))
        writer.write(body)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 5) == b"edge\n" + body
        writer.close()


async def test_without_asking_again_a_dead_gateway_would_be_called_until_it_is_found_out(
    tmp_path: Path,
) -> None:
    """What is behind an internal listener is no connect failure to who dials that: the trap."""

    def blind(kind: str, framed: Resource) -> Resource:
        framed = replacing(LISTENER, "connect-failure,refused-stream,reset,", "")(kind, framed)
        return replacing(CLUSTER, '"unhealthy_threshold": 1', '"unhealthy_threshold": 1000')(kind, framed)

    async with shop(tmp_path, "cloud", "edge", edit=blind) as built:
        assert (await calls(built, 3))[0] == {"cloud"}
        await built["cloud"].kill()
        assert "" in (await calls(built, 5))[0]


async def test_a_stream_that_is_open_stays_when_its_cluster_gets_company_or_loses_it(tmp_path: Path) -> None:
    async with shop(tmp_path, "cloud") as built:
        reader, writer = await connect(built.vip("onprem", "shop"), built["onprem"].address(2, 1))
        assert await reader.readline() == b"cloud\n"
        (port,) = {p for _, p in [built.vip("onprem", "shop")]}
        cloud, edge = built["cloud"], built["edge"]
        places = {
            str(c.name): [(c.address(3, 1), await built.serve(c.address(3, 1), saying(c.name)))]
            for c in (cloud, edge)
        }
        built.service("shop", places, again=True)
        await settled(built)
        assert built.vip("onprem", "shop")[1] == port
        second = await connect(built.vip("onprem", "shop"), built["onprem"].address(2, 1))
        assert await second[0].readline() == b"cloud\n"
        built.service("shop", {"edge": places["edge"]}, again=True)
        await settled(built)
        assert (await call(built))[0] == "edge"
        for each_reader, each_writer in ((reader, writer), second):
            each_writer.write(b"still here\n")
            assert await asyncio.wait_for(each_reader.readline(), 5) == b"still here\n"
            each_writer.close()


# --- several gateways, names, localities --------------------------------------------------------------


@asynccontextmanager
async def second_gateway(built: Mesh, name: str, folder: Path) -> AsyncIterator[Cluster]:
    """Another gateway of cluster *name*, that everybody knows of."""
    first = built[name]
    address = first.address(1, 2)
    spec = replace(
        first.spec,
        name=f"{first.spec.name}-2",
        roles=frozenset({Role.INGRESS}),  # the first has the addresses that are called
        ingress_addresses=(address,),
        ingress_port=free_port(address),
        access_log=str(folder / "calls.log"),
    )
    folder.mkdir()
    second = Cluster(name, spec, first.view.vip_ranges, first.authority, folder)
    first.more_gateways.append(GatewayRecord("gw-2", (address,), spec.ingress_port))
    built.introduce()
    second.publish(first.view)
    async with second.running():
        yield second


async def test_of_several_gateways_a_dead_one_is_passed_over_within_its_cluster(tmp_path: Path) -> None:
    async with (
        shop(tmp_path, "cloud", "edge") as built,
        second_gateway(built, "cloud", tmp_path / "cloud-2") as second,
    ):

        async def both_alive() -> bool:
            return await built["onprem"].stat(r"^cluster\.gw\|cloud\.membership_healthy$") == 2

        await until(both_alive, what="both gateways")
        assert (await calls(built, 20))[0] == {"cloud"}
        for gateway in (built["cloud"], second):
            assert gateway.calls()
        await built["cloud"].kill()
        assert (await calls(built, 10))[0] == {"cloud"}
        await second.kill()
        assert (await calls(built, 10))[0] == {"edge"}


async def test_gateways_are_dialled_by_name_as_well(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        cloud = built["cloud"]
        here = cloud.address(3, 1)
        built.service("shop", {"cloud": [(here, await built.serve(here, saying("cloud")))]})
        built.caller("onprem", "caller", built["onprem"].address(2, 1))
        port = cloud.spec.ingress_port
        spec: GatewaySpec = replace(cloud.spec, ingress_addresses=("127.0.0.1",))
        cloud.spec = spec
        cloud.gateway = GatewayRecord("gw", ("localhost",), port)
        cloud.publish_again()
        built.introduce()
        await settled(built)
        await built.acquainted()
        assert (await calls(built, 5))[0] == {"cloud"}


async def test_the_nearer_of_two_clusters_is_asked_first(tmp_path: Path) -> None:
    async with shop(tmp_path, "cloud", "edge") as built:
        assert (await calls(built, 3))[0] == {"cloud"}
        for name, region in (("onprem", "eu"), ("cloud", "us"), ("edge", "eu")):
            built[name].gateway = replace(built[name].gateway, locality=Locality(region))
        built.introduce()
        await settled(built)
        assert (await calls(built, 3))[0] == {"edge"}


async def shares(built: Mesh, count: int) -> Counter[str]:
    """Who answers *count* calls, and how often."""
    return Counter([(await call(built))[0] for _ in range(count)])


async def test_calls_are_shared_out_by_weight_and_those_of_a_dead_cluster_go_to_the_others(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as built:
        by_weight = {"onprem": 0, "cloud": 80, "edge": 20}
        for cluster in built.clusters.values():
            imported = cluster.view.imports[SHOP]
            offerings = tuple(replace(o, weight=by_weight[o.cluster]) for o in imported.offerings)
            shared = replace(imported, offerings=offerings, policy=TrafficPolicy.WEIGHTED)
            cluster.publish(replace(cluster.view, imports={SHOP: shared}))
        await settled(built)
        counted = await shares(built, 200)
        print(f"of 200 calls: {counted}")
        assert counted.keys() == {"cloud", "edge"}
        assert 120 < counted["cloud"] < 190  # 160 are its share
        await built["cloud"].kill()
        assert (await shares(built, 20)).keys() == {"edge"}
        await built["edge"].kill()
        assert (await shares(built, 10)).keys() == {"onprem"}  # which has no share while others take calls
        await built["edge"].start()
        await built["cloud"].start()

        async def is_back() -> bool:
            return {"cloud", "edge"} == (await shares(built, 20)).keys()

        await until(is_back, what="calls to be shared again")


def straight(kind: str, framed: Resource) -> Resource:
    """Lead tunnels into an aggregate cluster itself, without the router that asks."""
    return replacing(ENDPOINT, '"gw|cloud,edge"', '"any|cloud,edge"')(kind, framed)


def mute(kind: str, framed: Resource) -> Resource:
    """The same, with aggregate clusters that do not say that they speak HTTP/2."""
    if kind != CLUSTER or not framed.name.startswith("any|"):
        return straight(kind, framed)
    cluster = unpacked(kind, framed)
    cluster.ClearField("typed_extension_protocol_options")
    return resource(framed.name, cluster)


@pytest.mark.parametrize(("edit", "lives"), [(straight, True), (mute, False)])
async def test_a_tunnel_into_a_cluster_made_of_others_needs_its_protocol_there(
    edit: Edit, lives: bool, tmp_path: Path
) -> None:
    """Without, Envoy crashes: the trap, and why only a router leads there and the options are there too."""
    async with shop(tmp_path, "cloud", "edge", edit=edit) as built:
        who, _ = await calls(built, 3)
        process = built["onprem"].process
        assert process is not None
        if lives:
            assert (who, process.returncode) == ({"cloud"}, None)
        else:
            assert await asyncio.wait_for(process.wait(), 5) < 0
