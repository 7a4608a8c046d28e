"""What goes through a tunnel arrives whole, and stays open for as long as both ends like. Two real Envoys."""

import asyncio
from pathlib import Path

import pytest

from gateway.kinds import LISTENER, ROUTE
from tests.system.edits import Edit, replacing, shortening_defaults
from tests.system.mesh import Handler, Mesh, connect, greet, mesh

pytestmark = pytest.mark.envoy

RST = '"envoy.reloadable_features.propagate_upstream_rst_through_tunneled_tcp_proxy": '
PAYLOAD = bytes(range(256)) * 1200  # more than what fits into one buffer on the way


async def called(built: Mesh, handler: Handler) -> tuple[tuple[str, int], str]:
    """A service in `cloud` that *handler* serves; returns where to call it in `onprem`, and from where."""
    cloud, onprem = built["cloud"], built["onprem"]
    port = await built.serve(cloud.address(3, 1), handler)
    built.service("stream", {"cloud": [(cloud.address(3, 1), port)]})
    built.caller("onprem", "caller", onprem.address(2, 1))
    await onprem.settled()
    await cloud.settled()
    return built.vip("onprem", "stream"), onprem.address(2, 1)


async def speak_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that is the first to close."""
    await reader.readline()
    writer.write(PAYLOAD)
    await writer.drain()


async def short_transfers(built: Mesh, count: int) -> int:
    """How many of *count* transfers from a server that closes first did not arrive whole."""
    to, source = await called(built, speak_and_close)

    async def transfer() -> bool:
        try:
            reader, writer = await connect(to, source)
            writer.write(b"go\n")
            received = await reader.read(-1)
            writer.close()
        except ConnectionError:
            return False
        return received == PAYLOAD

    return sum([not await transfer() for _ in range(count)])


async def test_all_arrives_when_the_server_is_the_first_to_close(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        assert await short_transfers(built, 80) == 0


async def test_without_the_runtime_flag_a_server_that_closes_first_would_lose_data(tmp_path: Path) -> None:
    """The trap that the bootstrap's runtime is there for: this is what happens without."""
    async with mesh(tmp_path, edit_bootstrap=lambda text: text.replace(RST + "false", RST + "true")) as built:
        assert await short_transfers(built, 80) > 0


async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers only after the caller has said all."""
    received = await reader.read(-1)
    await asyncio.sleep(0.2)
    writer.write(received)
    await writer.drain()


async def test_a_half_closed_connection_still_brings_the_answer(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to, source = await called(built, answer_late)
        reader, writer = await connect(to, source)
        writer.write(PAYLOAD)
        writer.write_eof()
        assert await reader.read(-1) == PAYLOAD
        writer.close()


@pytest.mark.xfail(strict=True, reason="Envoy ends a CONNECT when its upstream has said all")
async def test_a_server_that_half_closes_still_hears_the_caller(tmp_path: Path) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def say_all_and_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"that is all\n")
        writer.write_eof()
        heard.set_result(await reader.read(-1))

    async with mesh(tmp_path) as built:
        to, source = await called(built, say_all_and_listen)
        reader, writer = await connect(to, source)
        try:
            assert await reader.read(-1) == b"that is all\n"
            writer.write(PAYLOAD)
            writer.write_eof()
            assert await asyncio.wait_for(heard, 5) == PAYLOAD
        finally:
            writer.close()


def both(first: Edit, second: Edit) -> Edit:
    return lambda kind, resource: second(kind, first(kind, resource))


async def survives(folder: Path, edit: Edit) -> bool:
    """Whether a connection still answers after three seconds of silence."""
    async with mesh(folder, edit=edit) as built:
        to, source = await called(built, greet)
        reader, writer = await connect(to, source)
        assert await reader.readline()
        await asyncio.sleep(3)
        try:
            writer.write(b"still here\n")
            return await asyncio.wait_for(reader.readline(), 2) == b"still here\n"
        except (ConnectionError, TimeoutError):
            return False
        finally:
            writer.close()


async def test_an_idle_connection_outlives_every_default_timeout(tmp_path: Path) -> None:
    """Whatever the translation leaves at its default is a second here, instead of minutes."""
    assert await survives(tmp_path, shortening_defaults(1))


@pytest.mark.parametrize(
    "edit",
    [
        replacing(LISTENER, '"idle_timeout": "0s"', '"idle_timeout": "1s"'),
        replacing(ROUTE, '"idle_timeout": "0s"', '"idle_timeout": "1s"'),
        both(
            replacing(LISTENER, '"stream_idle_timeout": "0s"', '"stream_idle_timeout": "1s"'),
            replacing(ROUTE, '"idle_timeout": "0s",', ""),
        ),
    ],
    ids=["tcp_proxy", "route", "http_connection_manager"],
)
async def test_each_timeout_that_is_turned_off_would_cut_an_idle_connection(
    edit: Edit, tmp_path: Path
) -> None:
    assert not await survives(tmp_path, edit)
