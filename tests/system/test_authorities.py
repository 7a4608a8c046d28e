"""A peer that asks the ingress for services that do not exist. One real Envoy, and a client of our own."""

import asyncio
import ssl
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h2.connection
import h2.events
import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from clusters.names import ServiceName
from gateway import names
from gateway.kinds import CLUSTER, ENDPOINT, SECRET
from tests.system.edits import unpacked
from tests.system.mesh import Cluster, Mesh, greet, mesh, until
from tests.system.test_identity import source, with_catalog

pytestmark = pytest.mark.envoy

AT_ONCE = 100


class Peer:
    """A hand-made egress gateway: one mTLS connection that opens CONNECT streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h2.connection.H2Connection()
        self._http.initiate_connection()

    async def statuses(self, authorities: list[str]) -> Counter[str]:
        """What the ingress says to a CONNECT to each of *authorities*."""
        return await self.asked([[(":method", "CONNECT"), (":authority", name)] for name in authorities])

    async def asked(self, requests: list[list[tuple[str, str]]]) -> Counter[str]:
        """What the ingress says to each of *requests*, given by their headers."""
        todo, said, open_streams = iter(requests), Counter[str](), 0
        while sum(said.values()) < len(requests):
            while open_streams < AT_ONCE and (headers := next(todo, None)) is not None:
                stream = self._http.get_next_available_stream_id()
                self._http.send_headers(stream, headers, end_stream=headers[0][1] != "CONNECT")
                open_streams += 1
            self._writer.write(self._http.data_to_send())
            received = await self._reader.read(1 << 16)
            assert received, "the ingress closed the connection"
            for event in self._http.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    said[dict(event.headers or ())[b":status"].decode()] += 1
                    open_streams -= 1
        return said

    def close(self) -> None:
        self._writer.close()


async def peer(to: Cluster, of: Cluster, address: str, folder: Path) -> Peer:
    """Dial the ingress of *to* with the certificate of the workload at *address* in *of*."""
    shown = unpacked(SECRET, of.secrets[names.source_secret(address)])
    assert isinstance(shown, Secret)
    pem = folder / "peer.pem"
    certificate = shown.tls_certificate
    pem.write_bytes(certificate.private_key.inline_bytes + certificate.certificate_chain.inline_bytes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    member = to.member.gateways[0]
    reader, writer = await asyncio.open_connection(
        member.addresses[0], member.port, ssl=context, server_hostname=of.trust_domain
    )
    return Peer(reader, writer)


async def prepared(built: Mesh, folder: Path) -> Peer:
    await with_catalog(built)
    return await peer(built["cloud"], built["onprem"], source(built, 1), folder)


def subscribed(cluster: Cluster) -> dict[str, int]:
    (status,) = cluster.ads.gateways()
    return {kind: status.kinds[kind].subscribed for kind in (CLUSTER, ENDPOINT) if kind in status.kinds}


@pytest.mark.slow
async def test_a_flood_of_unknown_authorities_leaves_nothing_behind_and_one_born_later_works(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path) as built:
        cloud = built["cloud"]
        client = await prepared(built, tmp_path)
        known = cloud.view.offer.services[ServiceName("shop", "catalog")]
        authority = known.service.authority(known.ports[0].port.number)
        assert await client.statuses([authority]) == {"200": 1}
        before, memory = subscribed(cloud), await cloud.stat(r"^server\.memory_allocated$")
        flood = [f"s{number}.shop.svc.clusterset.local:80" for number in range(20_000)]
        assert await client.statuses(flood) == {"404": 20_000}
        assert subscribed(cloud) == before
        assert await cloud.stat(r"^server\.memory_allocated$") - memory < 4 << 20
        port = await built.serve(cloud.address(3, 2), greet)
        number = built.service("s4711", {"cloud": [(cloud.address(3, 2), port)]})

        async def answers() -> bool:
            return await client.statuses([f"s4711.shop.svc.clusterset.local:{number}"]) == {"200": 1}

        await until(answers, what="the service that was born later")
        client.close()


async def test_a_stolen_certificate_opens_nothing_when_its_workload_is_revoked(
    tmp_path: Path,
) -> None:
    """It is shown to another cluster's ingress itself, past the gateway of its own; at home it is as bad."""
    async with mesh(tmp_path) as built:
        thief = await prepared(built, tmp_path)
        onprem, cloud = built["onprem"], built["cloud"]
        other = await peer(cloud, onprem, source(built, 2), tmp_path)
        service = cloud.view.offer.services[ServiceName("shop", "catalog")]
        authority = service.service.authority(service.ports[0].port.number)
        assert await thief.statuses([authority]) == await other.statuses([authority]) == {"200": 1}

        members = cloud.view.members
        told = {**members, onprem.name: replace(members[onprem.name], revoked=("shop/w1",))}
        cloud.publish_members(told)

        async def refused() -> bool:
            return await thief.statuses([authority]) == {"403": 1}

        await until(refused, what="the stolen certificate is refused on a connection that was open")
        again = await peer(cloud, onprem, source(built, 1), tmp_path)
        assert await again.statuses([authority]) == {"403": 1}
        assert await other.statuses([authority]) == {"200": 1}
        cloud.publish_members(members)

        async def let_in() -> bool:
            return await thief.statuses([authority]) == {"200": 1}

        await until(let_in, what="it is undone")
        for client in (thief, again, other):
            client.close()


async def test_only_connect_to_a_service_leads_anywhere(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        client = await prepared(built, tmp_path)
        odd = ["catalog.shop.svc.clusterset.local", "catalog.shop:80", "127.0.0.1:22", "x" * 300]
        assert await client.statuses(odd) == {"404": len(odd)}
        client.close()


def get(path: str) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", "https"), (":authority", "fed"), (":path", path)]


async def test_a_peer_may_ask_whether_the_ingress_lives_and_nothing_else(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        client = await prepared(built, tmp_path)
        assert await client.asked([get("/readyz")]) == {"200": 1}
        assert await client.asked([get("/"), get("/stats"), get("/readyz/x")]) == {"403": 3}
        client.close()
