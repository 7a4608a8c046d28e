"""Strangers at a TLS face: they may neither stay nor fill it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from federation.api.http import MAX_GUESTS, application, served_on_socket, served_on_tls, tls_context
from gateway.errors import CannotListen
from tests.authorities import Authorities


@asynccontextmanager
async def face(folder: Path, stay: float) -> AsyncIterator[int]:
    async def root(_: web.Request) -> web.StreamResponse:
        return web.Response(text="x" * 500_000)

    app = application()
    app.router.add_get("/", root)
    hub = Authorities(datetime.now(UTC)).hub()
    (folder / "chain").write_text(hub.chain_pem)
    (folder / "key").write_text(hub.key_pem)
    context = tls_context(folder / "chain", folder / "key")
    async with served_on_tls(app, "127.0.0.1", 0, context, stay=stay) as port:
        yield port


async def knock(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port, ssl=anyone)


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends, however it ends."""
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""


async def answer(port: int) -> bytes:
    reader, writer = await knock(port)
    writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
    said = await heard(reader)
    writer.close()
    return said


async def test_who_says_nothing_or_half_a_request_is_not_waited_for(tmp_path: Path) -> None:
    async with face(tmp_path, stay=0.2) as port:
        for half in (b"", b"GET / HTTP/1.1\r\nHost: hub\r\n"):
            reader, writer = await knock(port)
            writer.write(half)
            assert await heard(reader) == b""
            writer.close()


async def test_a_whole_answer_is_given(tmp_path: Path) -> None:
    async with face(tmp_path, stay=5) as port:
        assert len(await answer(port)) > 500_000


async def test_when_there_are_too_many_one_more_is_turned_away_until_one_goes(tmp_path: Path) -> None:
    async with face(tmp_path, stay=60) as port:
        guests = [await knock(port) for _ in range(MAX_GUESTS)]
        assert await answer(port) == b""
        guests.pop()[1].close()
        async with asyncio.timeout(5):
            while not await answer(port):
                pass
        for _, writer in guests:
            writer.close()


def test_all_of_it_holds_on_the_loop_that_the_hub_runs_on(tmp_path: Path) -> None:
    async def hold() -> None:
        async with face(tmp_path, stay=0.2) as port:
            assert len(await answer(port)) > 500_000
            reader, writer = await knock(port)
            assert await heard(reader) == b""
            writer.close()

    uvloop.run(hold())


async def test_a_socket_is_its_users_alone_and_replaces_one_that_was_left(short_path: Path) -> None:
    path = short_path / "admin.sock"
    path.touch()
    async with served_on_socket(application(), path):
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_a_socket_whose_path_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100) / "admin.sock"
    path.parent.mkdir()
    with pytest.raises(CannotListen, match=r"admin\.sock.*--state"):
        async with served_on_socket(application(), path):
            pass
