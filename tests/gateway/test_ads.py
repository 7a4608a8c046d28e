import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from envoy.service.discovery.v3.discovery_pb2 import Resource as Frame
from google.protobuf.wrappers_pb2 import StringValue

from gateway.ads import Ads
from gateway.delta import Catalogue, Resource, Standing
from gateway.errors import CannotListen, GatewayRefused
from gateway.kinds import CLUSTER, LISTENER
from gateway.messages import resource
from gateway.rpc import Listener, Peer, Shown, TlsListener, TlsMaterial, UnixListener, channel_credentials
from gateway.spec import GatewaySpec, Role, to_metadata
from pki.spiffe import gateway_id, trust_domain_of
from tests.authorities import Authorities, Credential
from tests.builders import ONPREM

EGRESS = GatewaySpec("gw-1", frozenset({Role.EGRESS}))
PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
SELF = ("grpc.ssl_target_name_override", "hub.fedgate.internal")

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"


class Envoy:
    """What an Envoy would say, said by hand."""

    def __init__(self, call: Call) -> None:
        self.call = call

    async def say(self, kind: str = CLUSTER, **fields: object) -> None:
        message = DeltaDiscoveryRequest(type_url=kind, **fields)  # type: ignore[arg-type]
        message.node.metadata.CopyFrom(to_metadata(EGRESS))
        await self.call.write(message.SerializeToString())

    async def hear(self) -> DeltaDiscoveryResponse:
        async with asyncio.timeout(5):
            message = await self.call.read()
        if not isinstance(message, bytes):
            raise AssertionError(f"the stream ended: {await self.call.code()} {await self.call.details()}")
        return DeltaDiscoveryResponse.FromString(message)

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(5):
            return await self.call.code(), await self.call.details()


@asynccontextmanager
async def dialled(target: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Envoy]:
    options = (SELF, ("grpc.use_local_subchannel_pool", 1))
    channel = (
        grpc.aio.secure_channel(target, credentials, options)
        if credentials
        else grpc.aio.insecure_channel(target, options)
    )
    async with channel:
        yield Envoy(channel.stream_stream(PATH)())


def cluster(name: str, value: str = "") -> Resource:
    return resource(name, StringValue(value=value))


def ads_of(catalogue: Catalogue, seen: list[tuple[Peer, GatewaySpec]] | None = None) -> Ads:
    async def catalogue_for(peer: Peer, spec: GatewaySpec) -> Catalogue:
        if seen is not None:
            seen.append((peer, spec))
        return catalogue

    return Ads(catalogue_for)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (whoever tells is at the other end of a connection)
            await asyncio.sleep(0)


@pytest.fixture
async def catalogue() -> Catalogue:
    served = Catalogue()
    served.update(CLUSTER, {"a": cluster("a", "one")})
    return served


# --- what crosses -----------------------------------------------------------------------------------


async def test_a_gateway_is_sent_its_resources_as_they_were_framed(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    large = cluster("large", "x" * 300)  # its length takes two bytes
    catalogue.update(CLUSTER, {"large": large})
    listener = UnixListener(tmp_path / "ads.sock")
    async with ads_of(catalogue).serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        await envoy.say(resource_names_subscribe=["a", "large", "missing"])
        response = await envoy.hear()
    assert (response.type_url, response.nonce, list(response.removed_resources)) == (
        CLUSTER,
        "1",
        ["missing"],
    )
    assert [frame.name for frame in response.resources] == ["a", "large"]
    assert response.resources[1] == Frame.FromString(large.body)


async def test_a_change_is_sent_though_nobody_asks(catalogue: Catalogue, tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "ads.sock")
    async with ads_of(catalogue).serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        await envoy.say(LISTENER)
        await envoy.say(LISTENER, response_nonce=(await envoy.hear()).nonce)
        await envoy.say(CLUSTER)
        await envoy.hear()  # and does not answer, so that the server has nothing to do
        catalogue.update(LISTENER, {"all": cluster("all")})
        assert [frame.name for frame in (await envoy.hear()).resources] == ["all"]


async def test_what_is_set_in_one_go_is_sent_in_order(catalogue: Catalogue, tmp_path: Path) -> None:
    ads, listener = ads_of(catalogue), UnixListener(tmp_path / "ads.sock")
    async with ads.serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        for kind in (CLUSTER, LISTENER):
            await envoy.say(kind)
            first = await envoy.hear()
            await envoy.say(kind, response_nonce=first.nonce)
        await until(lambda: ads.gateways()[0].standing is Standing.SYNCED)
        catalogue.update(LISTENER, {"all": cluster("all")})
        catalogue.update(CLUSTER, {"b": cluster("b")})
        assert [(await envoy.hear()).type_url for _ in range(2)] == [CLUSTER, LISTENER]


async def test_a_kind_that_is_not_served_is_passed_over(catalogue: Catalogue, tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "ads.sock")
    async with ads_of(catalogue).serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        await envoy.say("type.googleapis.com/envoy.service.runtime.v3.Runtime")
        await envoy.say(CLUSTER)
        assert (await envoy.hear()).type_url == CLUSTER


# --- how far a gateway is -----------------------------------------------------------------------------


async def test_the_status_follows_what_the_gateway_says(catalogue: Catalogue, tmp_path: Path) -> None:
    clock = datetime(2026, 6, 1, tzinfo=UTC)

    async def catalogue_for(_peer: Peer, _spec: GatewaySpec) -> Catalogue:
        return catalogue

    ads = Ads(catalogue_for, now=lambda: clock)
    listener = UnixListener(tmp_path / "ads.sock")
    async with ads.serving([listener]):
        async with dialled(f"unix:{listener.path}") as envoy:
            await envoy.say()
            sent = await envoy.hear()
            (stale,) = ads.gateways()
            assert (stale.spec, stale.standing, stale.kinds[CLUSTER].pending) == (EGRESS, Standing.STALE, 1)

            clock += timedelta(seconds=1)
            await envoy.say(response_nonce=sent.nonce)
            await until(lambda: ads.gateways()[0].standing is Standing.SYNCED)
            (synced,) = ads.gateways()
            assert (synced.since - synced.connected, synced.kinds[CLUSTER].held) == (timedelta(seconds=1), 1)

            catalogue.update(CLUSTER, {"a": cluster("a", "bad")})
            sent = await envoy.hear()
            await envoy.say(response_nonce=sent.nonce, error_detail={"message": "no such filter"})
            await until(lambda: ads.gateways()[0].standing is Standing.NACK)
            assert ads.gateways()[0].detail == "CDS a: no such filter"
        await until(lambda: ads.gateways() == ())


async def test_a_rejection_without_words_is_a_rejection(catalogue: Catalogue, tmp_path: Path) -> None:
    ads = ads_of(catalogue)
    listener = UnixListener(tmp_path / "ads.sock")
    async with ads.serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        await envoy.say()
        await envoy.say(response_nonce=(await envoy.hear()).nonce, error_detail={"code": 13})
        await until(lambda: ads.gateways()[0].detail == "CDS a: rejected with code 13")


# --- who may ------------------------------------------------------------------------------------------


async def test_a_gateway_that_shall_have_nothing_is_told_why(tmp_path: Path) -> None:
    async def catalogue_for(_peer: Peer, spec: GatewaySpec) -> Catalogue:
        raise GatewayRefused(spec.name, "it was never enrolled")

    listener = UnixListener(tmp_path / "ads.sock")
    async with Ads(catalogue_for).serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        await envoy.say()
        refusal = (grpc.StatusCode.PERMISSION_DENIED, "gateway 'gw-1' refused: it was never enrolled")
        assert await envoy.ended() == refusal


async def test_an_envoy_that_is_no_gateway_of_ours_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "ads.sock")
    async with ads_of(catalogue).serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        await envoy.call.write(DeltaDiscoveryRequest(type_url=CLUSTER).SerializeToString())
        code, reason = await envoy.ended()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "fedgate" in reason


@pytest.mark.parametrize("after_a_request", [False, True])
async def test_garbage_ends_the_stream(after_a_request: bool, catalogue: Catalogue, tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "ads.sock")
    ads = ads_of(catalogue)
    async with ads.serving([listener]), dialled(f"unix:{listener.path}") as envoy:
        if after_a_request:
            await envoy.say()
            await envoy.hear()
        await envoy.call.write(b"\xff\xff\xff")
        assert (await envoy.ended())[0] is grpc.StatusCode.INVALID_ARGUMENT
        await until(lambda: ads.gateways() == ())


async def test_the_socket_is_for_its_owner_alone_and_leaves_nothing_behind(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    path = tmp_path / "ads.sock"
    async with ads_of(catalogue).serving([UnixListener(path)]):
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


async def test_a_socket_that_a_crash_left_is_replaced_and_one_in_use_is_not(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    path = tmp_path / "ads.sock"
    path.touch()
    async with ads_of(catalogue).serving([UnixListener(path)]):
        with pytest.raises(CannotListen, match="another process serves it"):
            async with ads_of(catalogue).serving([UnixListener(path)]):
                pass
        async with dialled(f"unix:{path}") as envoy:
            await envoy.say()
            await envoy.hear()


async def test_a_folder_that_is_not_there_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match=r"nowhere/ads\.sock.*No such file"):
        async with ads_of(catalogue).serving([UnixListener(tmp_path / "nowhere" / "ads.sock")]):
            pass


# --- from another machine -------------------------------------------------------------------------------


def material(credential: Credential, authorities: Authorities) -> TlsMaterial:
    return TlsMaterial(credential.chain_pem, credential.key_pem, authorities.root_pem)


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities(now=datetime.now(UTC))


def tls(current: Callable[[], TlsMaterial]) -> Listener:
    return TlsListener("127.0.0.1:0", current)


async def test_by_mutual_tls_the_authoriser_sees_the_gateways_identity(
    catalogue: Catalogue, authorities: Authorities
) -> None:
    identity = gateway_id(trust_domain_of(ONPREM, authorities.domain), "egress", "gw-1")
    credential = authorities.svid(identity)
    seen: list[tuple[Peer, GatewaySpec]] = []
    listener = tls(lambda: material(authorities.hub(), authorities))
    async with ads_of(catalogue, seen).serving([listener]) as (port,):
        credentials = channel_credentials(material(credential, authorities))
        async with dialled(f"127.0.0.1:{port}", credentials) as envoy:
            await envoy.say()
            await envoy.hear()
    ((peer, spec),) = seen
    assert (peer.spiffe_id, spec) == (identity, EGRESS)
    assert peer.chain.startswith(credential.chain_pem[:200])
    assert peer.chain.count("BEGIN CERTIFICATE") == 3


async def test_who_shows_no_certificate_is_not_heard(catalogue: Catalogue, authorities: Authorities) -> None:
    seen: list[tuple[Peer, GatewaySpec]] = []
    listener = tls(lambda: material(authorities.hub(), authorities))
    async with ads_of(catalogue, seen).serving([listener]) as (port,):
        anonymous = grpc.ssl_channel_credentials(authorities.root_pem.encode())
        async with dialled(f"127.0.0.1:{port}", anonymous) as envoy:
            assert (await envoy.ended())[0] is grpc.StatusCode.UNAVAILABLE
    assert seen == []


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(
    catalogue: Catalogue, authorities: Authorities
) -> None:
    stranger = Authorities(now=datetime.now(UTC))
    current = material(stranger.hub(), stranger)
    credential = authorities.agent("onprem")
    async with ads_of(catalogue).serving([tls(lambda: current)]) as (port,):
        credentials = channel_credentials(material(credential, authorities))
        async with dialled(f"127.0.0.1:{port}", credentials) as envoy:
            assert (await envoy.ended())[0] is grpc.StatusCode.UNAVAILABLE
        current = material(authorities.hub(), authorities)
        async with dialled(f"127.0.0.1:{port}", credentials) as envoy:
            await envoy.say()
            await envoy.hear()


def test_what_grpc_shows_is_replaced_only_when_it_is_another(authorities: Authorities) -> None:
    current = material(authorities.hub(), authorities)
    shown = Shown(lambda: current)
    assert shown.renewed() is None
    current = material(authorities.hub(), authorities)
    assert shown.renewed() is not None
    assert shown.renewed() is None


async def test_an_address_that_is_in_use_is_named(catalogue: Catalogue, authorities: Authorities) -> None:
    shown = material(authorities.hub(), authorities)
    async with ads_of(catalogue).serving([tls(lambda: shown)]) as (port,):
        taken = TlsListener(f"127.0.0.1:{port}", lambda: shown)
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}"):
            async with ads_of(catalogue).serving([taken]):
                pass


def test_a_key_is_not_shown_by_accident() -> None:
    assert "SECRET" not in repr(TlsMaterial("chain", "SECRET", "roots"))
