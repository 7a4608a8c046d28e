"""What an egress takes of requests: how long heads may be and take, floods, and answers that nobody reads."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
import pytest_asyncio

from gateway.delta import Resource
from gateway.kinds import LISTENER
from tests.system import floods, web
from tests.system.edits import replacing
from tests.system.floods import HEADERS, PREFACE, SETTINGS, frame, literal
from tests.system.mesh import Mesh, connect, until
from tests.system.strain import Line, Neighbour, dialled, grown, let_go, offered, under_strain
from tests.system.web import Http1, get, http1, http2

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("http-limits"),
]

KIB = 1 << 10
HEAD = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"web"),
    )
)


def sooner(kind: str, framed: Resource) -> Resource:
    """The timeouts that a test can wait for."""
    framed = replacing(LISTENER, '"request_headers_timeout": "10s"', '"request_headers_timeout": "2s"')(
        kind, framed
    )
    return replacing(LISTENER, '"stream_flush_timeout": "300s"', '"stream_flush_timeout": "2s"')(kind, framed)


class World:
    """`shop/web` in `cloud`, a neighbour who calls it, and an attacker who may call it too."""

    def __init__(self, built: Mesh, to: tuple[str, int]) -> None:
        onprem = built["onprem"]
        self.built, self.to = built, to
        self.attacker = onprem.address(2, 2)
        self._neighbour = onprem.address(2, 1)

    async def _call(self) -> None:
        if (await get(self.to, self._neighbour)).status != 200:
            raise EOFError("not answered")

    @property
    def neighbour(self) -> Neighbour:
        """Somebody who has not called yet."""
        return Neighbour(self._call)

    async def http2_line(self) -> Line:
        """A connection of the attacker's on which HTTP/2 has begun."""
        line = await connect(self.to, self.attacker)
        line[1].write(PREFACE + frame(SETTINGS, 0, 0, b""))
        return line

    def http2_socket(self) -> socket.socket:
        """The same, for who waits on it."""
        connection = socket.create_connection(self.to, 30, (self.attacker, 0))
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        return connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with under_strain(tmp_path_factory.mktemp("http-limits"), edit=sooner) as (built, _):
        to = await offered(built, "web", web.web, "http")
        made = World(built, to)
        built.caller("onprem", "attacker", made.attacker)
        await built["onprem"].settled()
        yield made


# --- heads ----------------------------------------------------------------------------------------

LONG_HEADS = {
    "a long path": "GET /" + "a" * 61 * KIB + " HTTP/1.1\r\nHost: web\r\n\r\n",
    "a long header": "GET / HTTP/1.1\r\nHost: web\r\nx-long: " + "a" * 61 * KIB + "\r\n\r\n",
    "many headers": "GET / HTTP/1.1\r\nHost: web\r\n" + "x-one: more\r\n" * 101 + "\r\n",
    "no end": "GET / HTTP/1.1\r\nHost: web\r\n" + "x-one: more\r\n" * 100_000,
}


@pytest.mark.parametrize("head", LONG_HEADS.values(), ids=LONG_HEADS)
async def test_a_head_that_is_too_long_is_refused_and_its_connection_ended(world: World, head: str) -> None:
    async with http1(world.to, world.attacker) as connection:
        answer = await connection.ask(head.encode())
        assert answer.status == 431
        assert answer.body.startswith(b"fedgate: ")
        with suppress(ConnectionError):
            assert await connection.reader.read() == b""


@pytest.mark.parametrize(
    "headers",
    [[("x-long", "a" * 61 * KIB)], [("x-one", "more")] * 101],
    ids=["a long header", "many headers"],
)
async def test_in_http2_the_stream_alone_is_ended(world: World, headers: list[tuple[str, str]]) -> None:
    async with http2(world.to, world.attacker) as connection:
        with pytest.raises(ConnectionError, match="reset"):
            await connection.ask(headers=headers)
        assert (await connection.ask()).method == "POST"


async def test_a_head_that_is_almost_too_long_is_carried(world: World) -> None:
    headers = [("x-long", "a" * 50 * KIB), *[(f"x-{n}", "y") for n in range(80)]]
    async with http2(world.to, world.attacker) as connection:
        assert len((await connection.ask(headers=headers)).headers) > 80
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    async with http1(world.to, world.attacker) as connection:
        assert (await connection.ask(f"GET / HTTP/1.1\r\nHost: web\r\n{lines}\r\n".encode())).status == 200


# --- floods ---------------------------------------------------------------------------------------


async def test_a_caller_that_floods_is_shut_out_and_nobody_notices(world: World) -> None:
    neighbour = world.neighbour
    attacks: dict[str, Iterator[bytes]] = {
        "resets": floods.resets(HEAD),
        "continuations": floods.continuations(HEAD),
        "bomb": floods.bomb(HEAD),
        "giants": floods.giants(HEAD, 5),
        "nothings": floods.nothings(HEAD),
        "pings": floods.pings(),
        "settings": floods.settings(),
    }

    async def attack() -> None:
        async with neighbour.calling():
            for name, parts in attacks.items():
                assert await floods.is_shut_out(world.http2_socket, parts), name
            await neighbour.has_called(30)

    more = await grown(world.built.clusters.values(), attack())
    neighbour.noticed_nothing()
    assert max(more.values()) < 64, more


# --- answers that nobody reads --------------------------------------------------------------------


async def test_an_answer_in_http2_that_its_caller_does_not_read_is_ended(world: World) -> None:
    async with http2(world.to, world.attacker) as connection:
        with pytest.raises(ConnectionError, match="reset"):
            await connection.ask("/long")


# --- slow and silent ------------------------------------------------------------------------------


async def test_a_head_that_does_not_come_to_an_end_is_not_waited_for(world: World) -> None:
    neighbour, lines = world.neighbour, await dialled(world.to, world.attacker, 100)
    cut = await world.http2_line()
    cut[1].write(frame(HEADERS, 0, 1, HEAD))

    async def outcome(line: Line) -> bytes:
        """What comes first while a byte is sent again and again: a reset may follow."""
        reader, writer = line
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\nx-slow: ")
        hearing = asyncio.create_task(reader.readuntil(b"\r\n"))
        async with asyncio.timeout(20):
            while not hearing.done():
                writer.write(b"a")
                await asyncio.wait([hearing], timeout=0.2)
        return await hearing

    async with neighbour.calling():
        answers = await asyncio.gather(*map(outcome, lines))
        assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 408 Request Timeout"}
        async with asyncio.timeout(20):
            assert b"408" in await cut[0].readuntil(b"fedgate: request header timeout")
        await neighbour.has_called(20)
    neighbour.noticed_nothing()
    await let_go(world.built, [*lines, cut])


async def test_a_thousand_connections_without_a_request_have_no_tunnel_and_are_kept(world: World) -> None:
    neighbour, lines = world.neighbour, list[Line]()

    async def ask(line: Line) -> bool:
        async with asyncio.timeout(20):
            return (await Http1(*line).ask()).status == 200

    async def none_open() -> bool:
        return await world.built["cloud"].stat(r"^http\.ingress\.downstream_rq_active$") == 0

    async def idle() -> None:
        lines.extend(await dialled(world.to, world.attacker, 1000))
        for some in range(0, 1000, 50):
            assert all(await asyncio.gather(*map(ask, lines[some : some + 50])))
        await until(none_open, what="their tunnels to be let go")
        async with neighbour.calling():
            await neighbour.has_called(50)
        assert all(await asyncio.gather(*map(ask, lines[::100])))

    more = await grown(world.built.clusters.values(), idle())
    neighbour.noticed_nothing()
    assert max(more.values()) < 100, more
    await let_go(world.built, lines)
