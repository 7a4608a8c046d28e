"""How a registry on etcd is entered: TLS, mutual TLS, user and password; and what becomes of that later."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
import pytest
from etcd3.etcdrpc import rpc_pb2 as rpc

from federation.errors import StoreError, StoreUnreachable, StoreUnusable
from federation.registry.etcd.connection import RANGE, Connection, Refused
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import KEEP_ALIVE, EtcdStore
from federation.registry.store import Batch, Put
from gateway.rpc import Context
from tests import requirements
from tests.federation.registry.etcd_entry import SHORT_LIVED, Certificates, let_in_users, with_password
from tests.federation.registry.etcd_server import etcd

pytestmark = pytest.mark.slow


async def works(location: Location) -> None:
    """Write, and be told of it."""
    store = await EtcdStore.open(location)
    commit = await store.commit([Put("a", b"1")])
    async with asyncio.timeout(10):
        batch = await anext(store.watch("", commit.revision - 1))
    assert [event.key for event in batch.events] == ["a"]
    await store.close()


async def test_it_is_entered_over_tls(certificates: Certificates, tmp_path: Path) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=False)) as (member,):
        await works(Location((member.endpoint,), ca_file=certificates["ca.pem"]))


async def test_who_has_another_certificate_is_not_taken_for_the_registry(
    certificates: Certificates, tmp_path: Path
) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=False)) as (member,):
        other = Certificates(tmp_path / "other")
        with pytest.raises(StoreUnreachable):
            await EtcdStore.open(Location((member.endpoint,), ca_file=other["ca.pem"]))


async def test_it_is_entered_with_a_certificate_and_not_without(
    certificates: Certificates, tmp_path: Path
) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=True)) as (member,):
        anybody = Location((member.endpoint,), ca_file=certificates["ca.pem"])
        with pytest.raises(StoreUnreachable):
            await EtcdStore.open(anybody)
        await works(certificates.entry([member]))


async def first_keys(watch: AsyncIterator[Batch]) -> list[str]:
    """What is told first, after however many interruptions."""
    while not (batch := await anext(watch)).events:
        pass
    return [event.key for event in batch.events]


async def test_certificates_may_be_replaced_while_it_is_used(
    certificates: Certificates, tmp_path: Path
) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=True)) as (member,):
        store = await EtcdStore.open(certificates.entry([member]))
        watch = store.watch("", (await store.commit([Put("a", b"1")])).revision)
        told = asyncio.ensure_future(first_keys(watch))
        certificates.make()
        member.signal(signal.SIGTERM)
        member.start()
        await store.commit([Put("b", b"2")])
        async with asyncio.timeout(20):
            assert await told == ["b"]
        await store.close()


async def test_a_password_opens_it_and_a_token_that_ran_out_is_replaced(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path, options=SHORT_LIVED) as (member,):
        await let_in_users(member.endpoint, "sesame")
        store = await EtcdStore.open(with_password(tmp_path, [member], "sesame"))
        seen = (await store.commit([Put("a", b"1")])).revision
        told = asyncio.ensure_future(first_keys(store.watch("", seen)))
        await asyncio.sleep(5)
        await store.commit([Put("b", b"2")])
        async with asyncio.timeout(20):
            assert await told == ["b"]
        seen = (await store.commit([Put("c", b"3")])).revision
        async with asyncio.timeout(20):
            assert await first_keys(store.watch("", seen - 1)) == ["c"]
        await store.close()


async def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path) as (member,):
        await let_in_users(member.endpoint, "sesame")
        with pytest.raises(Refused, match="authentication failed") as refused:
            await EtcdStore.open(with_password(tmp_path, [member], "open-up"))
        assert "open-up" not in str(refused.value)
        with pytest.raises(StoreError):
            await EtcdStore.open(Location((member.endpoint,)))


async def test_where_nobody_listens_is_said_in_time() -> None:
    with pytest.raises(StoreUnreachable, match=r"etcd://127\.0\.0\.1:1/fedgate does not answer"):
        await EtcdStore.open(Location(("127.0.0.1:1",)))


async def test_an_empty_etcd_in_the_place_of_the_one_before_is_not_taken_for_it(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path) as (member,):
        store = await EtcdStore.open(Location((member.endpoint,), "fed"))
        for _ in range(3):
            await store.commit([Put("fedgate/a", b"")])
        member.signal(signal.SIGTERM)
        member.start()
        assert await store.get("fedgate/a") is not None
        member.signal(signal.SIGTERM)
        shutil.rmtree(tmp_path / member.name)
        member.start()
        with pytest.raises(StoreUnusable, match="another etcd is in its place: at revision 1, and it was at"):
            await store.get("fedgate/a")
        await store.close()


_STOPS: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)


@asynccontextmanager
async def member_that_stops() -> AsyncIterator[Location]:
    """It ends calls in each way that members have which are told to stop, and then answers."""
    ends, streams = list(_STOPS), [*_STOPS, None]

    async def range_(_: rpc.RangeRequest, context: Context) -> rpc.RangeResponse:
        if ends:
            await context.abort(ends.pop(), "No status received")
        return rpc.RangeResponse()

    async def keep_alive(_: object, context: Context) -> AsyncIterator[rpc.LeaseKeepAliveResponse]:
        if not streams:
            yield rpc.LeaseKeepAliveResponse(TTL=7)
        elif code := streams.pop():
            await context.abort(code, "No status received")

    server = grpc.aio.server()
    for method, handler in (
        (
            RANGE,
            grpc.unary_unary_rpc_method_handler(
                range_, RANGE.asks.FromString, RANGE.answers.SerializeToString
            ),
        ),
        (
            KEEP_ALIVE,
            grpc.stream_stream_rpc_method_handler(
                keep_alive, KEEP_ALIVE.asks.FromString, KEEP_ALIVE.answers.SerializeToString
            ),
        ),
    ):
        _, service, name = method.path.split("/")
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Location((f"127.0.0.1:{port}",))
    await server.stop(None)


async def test_what_a_member_says_that_stops_is_not_taken_for_an_answer() -> None:
    async with member_that_stops() as location:
        connection = Connection(location)
        assert await connection.call(RANGE, rpc.RangeRequest()) == rpc.RangeResponse()
        assert (await connection.call(KEEP_ALIVE, rpc.LeaseKeepAliveRequest())).TTL == 7
        await connection.close()
