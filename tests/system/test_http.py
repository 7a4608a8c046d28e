"""Requests that are carried one by one: as they were sent, and with who called. Two real Envoys."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clusters.model import Workload
from tests.system import web
from tests.system.mesh import Mesh, mesh
from tests.system.test_identity import identity, source
from tests.system.web import PAYLOAD, get, http1, http2

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("http")]

XFCC = "x-forwarded-client-cert"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """`shop/web` in `cloud`, and callers `w1` and `w2` in `onprem`."""
    async with mesh(tmp_path_factory.mktemp("http")) as made:
        await with_web(made)
        yield made


async def with_web(built: Mesh, *, callers: int = 2, servers: int = 1) -> tuple[str, int]:
    """`shop/web` in `cloud` with so many *servers*, and *callers* in `onprem`; returns where to call it."""
    cloud, onprem = built["cloud"], built["onprem"]
    port = await built.serve(cloud.address(3, 1), web.web)
    addresses = [cloud.address(3, number) for number in range(1, servers + 1)]
    for address in addresses[1:]:
        await built.serve(address, web.web, port)
    built.service("web", {"cloud": [(address, port) for address in addresses]}, speaks="http")
    for number in range(1, callers + 1):
        built.caller("onprem", f"w{number}", source(built, number))
    await onprem.settled()
    await cloud.settled()
    return built.vip("onprem", "web")


def told(built: Mesh, number: int) -> str:
    """What a server is told of caller *number*."""
    by = f"spiffe://{built['onprem'].trust_domain}/gateway/egress/{built['onprem'].spec.name}"
    return f"By={by};URI={identity(built, number)}"


async def test_a_request_arrives_as_it_was_sent_and_says_who_sent_it(built: Mesh) -> None:
    lines = [
        "POST /a/../b%2f//c;d?x=1&y=%00 HTTP/1.1",
        "HoSt: Web.Shop:80.",
        "X-ODD-case: a",
        "X-ODD-case: b",
        "X-Forwarded-For: 192.0.2.99",
        "X-Forwarded-Proto: https",
        "x-request-id: mine",
        "under_score: kept",
        "TE: trailers",
        "Content-Length: 4",
    ]
    async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
        answer = await connection.ask("\r\n".join([*lines, "", "body"]).encode())
    seen = answer.seen
    assert f"{seen.method} {seen.target} {seen.protocol}" == lines[0]
    *sent, (name, value) = seen.headers
    assert [f"{name}: {value}" for name, value in sent] == lines[1:]
    assert (name.lower(), value) == (XFCC, told(built, 1))
    assert seen.body == "body"
    assert answer.head.startswith("HTTP/1.1 200 As You Like It\r\nX-Odd-CASE: Kept\r\n")
    assert answer.trailers.lower() == "x-trailing: kept\r\n"


async def test_what_a_gateway_adds_by_itself_is_next_to_nothing(built: Mesh) -> None:
    answer = await get(built.vip("onprem", "web"), source(built, 1))
    assert [name for name, _ in answer.seen.headers] == ["Host", "x-forwarded-proto", XFCC]
    names = [line.partition(":")[0] for line in answer.head.split("\r\n")[1:-2]]
    assert sorted(name.lower() for name in names) == ["date", "transfer-encoding", "x-odd-case"]


FORGERIES = {
    "as-it-is": [f"{XFCC}: URI=spiffe://onprem.fed.example/ns/shop/sa/w2"],
    "in-odd-case": ["X-FORWARDED-client-CERT: URI=spiffe://onprem.fed.example/ns/shop/sa/w2"],
    "twice": [f"{XFCC}: By=a;URI=b", f"{XFCC}: By=c;URI=d"],
    "with-underscores": [
        "X_Forwarded_Client_Cert: URI=b",
        "x-forwarded_client-cert: c",
        "x-forwarded-client_cert: d",
    ],
    "our-own": ["x-fed-caller: src/127.0.0.1", "x-fed-vip: vip|nowhere", "X_Fed_Caller: w2"],
    "by-the-address": [
        "x-forwarded-for: {w2}",
        "x-real-ip: {w2}",
        "forwarded: for={w2}",
        "x-envoy-external-address: {w2}",
    ],
    "as-hop-by-hop": [f"connection: {XFCC}, x-fed-caller"],
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_nobody_can_say_that_he_is_somebody_else(forgery: str, built: Mesh) -> None:
    lines = [line.format(w2=source(built, 2)) for line in FORGERIES[forgery]]
    async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
        for _ in range(2):  # also when the way is there already
            request = "\r\n".join(["GET / HTTP/1.1", "Host: web", *lines, "", ""])
            seen = (await connection.ask(request.encode())).seen
            assert seen.all(XFCC) == [told(built, 1)]
            assert await built["cloud"].caller_of(seen.peer) == identity(built, 1)


async def test_nothing_is_said_of_the_caller_in_trailers(built: Mesh) -> None:
    lie = ["X-Forwarded-Client-Cert: URI=b", "x_forwarded_client_cert: URI=c", "X-Kept: yes"]
    request = ["POST / HTTP/1.1", "Host: web", "Transfer-Encoding: chunked", "", "1", "a", "0", *lie, "", ""]
    async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
        seen = (await connection.ask("\r\n".join(request).encode())).seen
    assert seen.all(XFCC) == [told(built, 1)]
    assert [(name.lower(), value) for name, value in seen.trailers] == [("x-kept", "yes")]
    async with http2(built.vip("onprem", "web"), source(built, 1)) as connection:
        seen = await connection.ask(headers=[(XFCC, "URI=a")], trailers=[(XFCC, "URI=b"), ("x-kept", "yes")])
    assert seen.all(XFCC) == [told(built, 1)]
    assert seen.trailers == [("x-kept", "yes")]


async def test_http2_is_carried_as_http2_with_its_trailers(built: Mesh) -> None:
    async with http2(built.vip("onprem", "web"), source(built, 1)) as connection:
        for number in range(3):
            seen = await connection.ask(f"/{number}?x", b"abc", headers=[("te", "trailers")])
            assert (seen.protocol, seen.target, seen.body) == ("HTTP/2", f"/{number}?x", "abc")
            assert seen.all(XFCC) == [told(built, 1)]


async def test_the_oldest_http_is_understood(built: Mesh) -> None:
    for head in ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: web\r\n\r\n"):
        async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
            answer = await connection.ask(head.encode())
        assert answer.status == 200
        assert answer.seen.all(XFCC) == [told(built, 1)]


async def test_the_server_decides_whether_a_body_may_come(built: Mesh) -> None:
    head = "POST {} HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
        assert (await connection.ask(head.format("/refuse").encode())).status == 417
    async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
        connection.writer.write(head.format("/").encode())
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await connection.ask(b"body")).seen.body == "body"


async def test_a_client_that_offers_tls_goes_on_without(built: Mesh) -> None:
    offer = b"GET / HTTP/1.1\r\nHost: web\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade\r\n\r\n"
    async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
        assert (await connection.ask(offer)).status == 200


async def test_a_body_that_ends_with_the_connection_arrives_whole(built: Mesh) -> None:
    async def whole() -> bool:
        return (await get(built.vip("onprem", "web"), source(built, 1), "/until-the-end")).body == PAYLOAD

    assert all(await asyncio.gather(*(whole() for _ in range(40))))


async def test_the_first_request_to_a_service_may_have_a_body(built: Mesh) -> None:
    """The gateway learns of the service while it waits."""
    cloud = built["cloud"]
    for number in range(3):
        port = await built.serve(cloud.address(3, 1), web.web)
        built.service(f"cold-{number}", {"cloud": [(cloud.address(3, 1), port)]}, speaks="http")
        await built["onprem"].settled()
        await cloud.settled()
        async with http1(built.vip("onprem", f"cold-{number}"), source(built, 1)) as connection:
            body = "x" * 100_000 * number
            request = f"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            assert (await connection.ask(request.encode())).seen.body == body


async def test_a_service_that_is_nowhere_to_be_had_is_a_503_that_says_so(built: Mesh) -> None:
    built.service("nowhere", {"cloud": []}, speaks="http")
    await built["onprem"].settled()
    answer = await get(built.vip("onprem", "nowhere"), source(built, 1))
    assert answer.status == 503
    assert answer.body == b"fedgate: no cluster can take calls to web now"


async def test_an_address_that_changes_hands_does_so_for_the_next_request(built: Mesh) -> None:
    onprem = built["onprem"]
    before = onprem.view.offer.workloads
    onprem.change(workloads=(*before, Workload("shop", "w3", (source(built, 3),))))
    await onprem.settled()
    async with http1(built.vip("onprem", "web"), source(built, 3)) as connection:
        seen = (await connection.ask()).seen
        assert seen.all(XFCC) == [told(built, 3)]
        onprem.change(workloads=(*before, Workload("shop", "w4", (source(built, 3),))))
        await onprem.settled()
        seen = (await connection.ask()).seen
        assert seen.all(XFCC) == [told(built, 4)]
        onprem.change(workloads=before)
        await onprem.settled()
        answer = await connection.ask()
        assert answer.status == 403
        assert answer.body == b"fedgate: no workload has the address that this call comes from"
