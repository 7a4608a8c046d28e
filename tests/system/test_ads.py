"""What only a real Envoy can prove of ADS: warming, names born late, coming back, and refusing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.duration_pb2 import Duration

from gateway.admin import Admin
from gateway.ads import Ads, GatewayStatus
from gateway.binary import arguments, find_envoy
from gateway.bootstrap import UnixAgent, admin_socket, bootstrap, bootstrap_file, to_json
from gateway.delta import Catalogue, Resource, Standing
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER
from gateway.messages import ADS, packed, resource, socket_address
from gateway.rpc import Peer, UnixListener
from gateway.spec import GatewaySpec, Role
from tests.system.mesh import free_port, until

pytestmark = pytest.mark.envoy

SPEC = GatewaySpec("gw-1", frozenset({Role.EGRESS}))


def eds_cluster(name: str, *, timeout: int = 1) -> Cluster:
    """A cluster whose endpoints come by EDS."""
    message = Cluster(name=name, type=Cluster.DiscoveryType.EDS, connect_timeout=Duration(seconds=timeout))
    message.eds_cluster_config.eds_config.CopyFrom(ADS)
    return message


def cluster(name: str, *, timeout: int = 1) -> Resource:
    return resource(name, eds_cluster(name, timeout=timeout))


def endpoints(name: str, port: int) -> Resource:
    endpoint = LbEndpoint(endpoint=Endpoint(address=socket_address("127.0.0.1", port)))
    locality = LocalityLbEndpoints(lb_endpoints=[endpoint])
    return resource(name, ClusterLoadAssignment(cluster_name=name, endpoints=[locality]))


def on_demand_listener(port: int, cluster: str) -> Resource:
    """A listener whose cluster is asked for at the first connection."""
    proxy = TcpProxy(stat_prefix="late", cluster=cluster)
    proxy.on_demand.odcds_config.CopyFrom(ADS)
    network_filter = Filter(name="envoy.filters.network.tcp_proxy", typed_config=packed(proxy))
    message = Listener(
        name="all",
        address=socket_address("127.0.0.1", port),
        filter_chains=[FilterChain(filters=[network_filter])],
    )
    return resource("all", message)


class Gateway:
    """A real Envoy that takes everything from a catalogue of ours."""

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.admin = Admin(admin_socket(folder))
        self.ads = Ads(self._catalogue_for)
        self.listener = UnixListener(folder / "ads.sock")

    async def _catalogue_for(self, _peer: Peer, _spec: GatewaySpec) -> Catalogue:
        return self.catalogue

    @asynccontextmanager
    async def running(self, *, all_clusters: bool) -> AsyncIterator[None]:
        """Run Envoy; it asks for every cluster there is, or only for those that it needs."""
        config = bootstrap(SPEC, UnixAgent(self.listener.path), self.folder)
        if all_clusters:
            config.dynamic_resources.cds_config.CopyFrom(ADS)
        path = bootstrap_file(self.folder)
        path.write_text(to_json(config))
        async with AsyncExitStack() as stack:
            log = stack.enter_context((self.folder / "envoy.log").open("wb"))
            process = await asyncio.create_subprocess_exec(
                *arguments(find_envoy(), path, concurrency=1), stdout=log, stderr=log
            )
            try:
                await stack.enter_async_context(self.admin)
                yield
            finally:
                process.kill()
                await process.wait()

    async def live(self) -> None:
        await until(self.admin.is_live, what="Envoy to be live")

    async def becomes(self, what: str, condition: Callable[[GatewayStatus], bool]) -> None:
        """Wait until the one connected gateway's status meets *condition*."""

        async def met() -> bool:
            return any(condition(status) for status in self.ads.gateways())

        await until(met, what=what)

    async def synced(self) -> None:
        await self.becomes("Envoy to be in sync", lambda status: status.standing is Standing.SYNCED)

    async def stat(self, name: str) -> int:
        return (await self.admin.stats(f"^{name}$")).get(name, 0)

    async def connect_timeout(self, name: str) -> str:
        """The connect timeout of the cluster that is in use."""
        dump = json.loads(await self.admin.get("/config_dump?resource=dynamic_active_clusters"))
        clusters = (config["cluster"] for config in dump.get("configs", ()))
        return next((str(c["connect_timeout"]) for c in clusters if c["name"] == name), "")


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that answers with what it is sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said_back(port: int) -> bytes:
    """What comes back over a new connection; nothing if it is closed."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        answer = await reader.read(100)
        writer.close()
    except ConnectionError:
        return b""
    return answer


async def test_a_changed_cluster_is_in_use_at_once_though_its_endpoints_did_not_change(
    tmp_path: Path,
) -> None:
    """Envoy waits for the endpoints of a cluster that it was sent anew, and gives up after 15 s."""
    gateway = Gateway(tmp_path, Catalogue())
    gateway.catalogue.update(CLUSTER, {name: cluster(name) for name in ("changed", "other")})
    gateway.catalogue.update(ENDPOINT, {name: endpoints(name, 9) for name in ("changed", "other")})
    async with gateway.ads.serving([gateway.listener]), gateway.running(all_clusters=True):
        await gateway.live()
        gateway.catalogue.update(CLUSTER, {"changed": cluster("changed", timeout=2)})

        async def in_use() -> bool:
            return await gateway.connect_timeout("changed") == "2s"

        await until(in_use, what="the changed cluster to be in use", timeout=3)
        await gateway.synced()
        assert await gateway.stat("cluster_manager.warming_clusters") == 0


async def test_a_cluster_asked_for_too_early_works_when_it_is_born(tmp_path: Path, echo: int) -> None:
    gateway = Gateway(tmp_path, Catalogue())
    port = free_port("127.0.0.1")
    gateway.catalogue.update(LISTENER, {"all": on_demand_listener(port, "late")})
    async with gateway.ads.serving([gateway.listener]), gateway.running(all_clusters=False):
        await gateway.live()
        assert await said_back(port) == b""
        await gateway.synced()

        gateway.catalogue.update(ENDPOINT, {"late": endpoints("late", echo)})
        gateway.catalogue.update(CLUSTER, {"late": cluster("late")})
        await gateway.becomes("the cluster to be taken", lambda status: status.kinds[CLUSTER].held == 1)
        assert await said_back(port) == b"hello\n"


async def test_after_a_restart_of_the_server_only_what_changed_is_sent(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, Catalogue())
    names = [f"c{i}" for i in range(20)]
    gateway.catalogue.update(CLUSTER, {name: cluster(name) for name in names})
    gateway.catalogue.update(ENDPOINT, {name: endpoints(name, 9) for name in names})
    async with gateway.running(all_clusters=True):
        async with gateway.ads.serving([gateway.listener]):
            await gateway.live()
            await gateway.synced()
        gateway.catalogue.update(CLUSTER, {"c7": cluster("c7", timeout=2)})
        async with gateway.ads.serving([gateway.listener]):

            async def in_use() -> bool:
                return await gateway.connect_timeout("c7") == "2s"

            await until(in_use, what="the changed cluster to be in use")
            await gateway.synced()
            (status,) = gateway.ads.gateways()
            assert (status.kinds[CLUSTER].held, status.kinds[CLUSTER].sent) == (20, 1)
            assert (status.kinds[ENDPOINT].held, status.kinds[ENDPOINT].sent) == (20, 1)


async def test_what_envoy_rejects_is_shown_and_what_was_good_stays_in_use(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, Catalogue())
    names = [f"c{i}" for i in range(8)]
    gateway.catalogue.update(CLUSTER, {name: cluster(name) for name in names})
    gateway.catalogue.update(ENDPOINT, {name: endpoints(name, 9) for name in names})
    async with gateway.ads.serving([gateway.listener]), gateway.running(all_clusters=True):
        await gateway.live()
        bad = eds_cluster("c3")
        bad.transport_socket.CopyFrom(TransportSocket(name="no such socket"))
        changed = {name: cluster(name, timeout=2) for name in names}
        gateway.catalogue.update(CLUSTER, {**changed, "c3": resource("c3", bad)})
        await gateway.becomes(
            "the one bad cluster to be found",
            lambda status: (
                status.kinds[CLUSTER].rejected.keys() == {"c3"} and not status.kinds[CLUSTER].pending
            ),
        )
        (status,) = gateway.ads.gateways()
        assert status.standing is Standing.NACK
        assert "no such socket" in status.detail
        assert await gateway.connect_timeout("c3") == "1s"
        assert {await gateway.connect_timeout(name) for name in names if name != "c3"} == {"2s"}

        gateway.catalogue.update(CLUSTER, {"c3": cluster("c3", timeout=2)})
        await gateway.synced()
