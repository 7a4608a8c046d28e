"""The Workload API's socket against those who mean no good, or do not know what they do."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from clusters.attestation import Process
from federation.workload.door import Allowance, Bounds, Door
from gateway.errors import CannotListen
from tests.federation.workload.desk import desk, known_by, until


def everybody(_: Process) -> bool:
    return True


def nobody(_: Process) -> bool:
    return False


class Inside:
    """What is behind the door: it keeps what it hears, and who said it."""

    def __init__(self) -> None:
        self.heard = 0
        self.peers: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name: bytes = writer.get_extra_info("peername")
        self.peers.append(f"unix-abstract:{name[1:].decode()}")
        self.writers.append(writer)
        while heard := await reader.read(65536):
            self.heard += len(heard)
        writer.close()


@asynccontextmanager
async def behind(folder: Path, door: Door) -> AsyncIterator[Inside]:
    """*door* before something that only listens."""
    inside = Inside()
    server = await asyncio.start_unix_server(inside.serve, folder / "inner")
    async with door.open(folder / "outer", folder / "inner"):
        yield inside
    server.close()


def knock(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(folder / "outer"))
    return connection


async def ends(connection: socket.socket) -> bool:
    """Whether the other side hangs up, whatever it says before."""

    def ended() -> bool:
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
        return True

    return await asyncio.to_thread(ended)


async def test_what_is_inside_knows_who_knocked(short_path: Path) -> None:
    door = Door(everybody)
    async with behind(short_path, door) as inside:
        with knock(short_path) as connection:
            connection.sendall(b"hello")
            await until(lambda: inside.heard == 5)
            process = door.process(inside.peers[0])
            assert process is not None
            assert (process.pid, process.uid) == (os.getpid(), os.geteuid())
            assert process.path == str(Path("/proc/self/exe").readlink())
        await until(lambda: door.process(inside.peers[0]) is None and door.connections == 0)
    assert door.process("unix:") is None


async def test_when_either_end_hangs_up_so_does_the_other(short_path: Path) -> None:
    door = Door(everybody)
    async with behind(short_path, door) as inside:
        with knock(short_path) as connection:
            await until(lambda: bool(inside.writers))
            inside.writers[0].close()
            assert await ends(connection)


@pytest.mark.parametrize(
    ("known", "bounds", "room"),
    [
        (everybody, Bounds(connections_each=3), 3),
        (everybody, Bounds(connections=2), 2),
        (nobody, Bounds(strangers_each=2), 2),
        (nobody, Bounds(strangers=1), 1),
    ],
)
async def test_a_user_has_so_many_connections_and_room_for_more_when_some_end(
    short_path: Path, known: Callable[[Process], bool], bounds: Bounds, room: int
) -> None:
    door = Door(known, bounds)
    async with behind(short_path, door) as inside:
        held = [knock(short_path) for _ in range(room)]
        await until(lambda: len(inside.peers) == room)
        with knock(short_path) as one_too_many:
            assert await ends(one_too_many)
        assert door.turned_away == 1
        held.pop().close()
        await until(lambda: door.connections == room - 1)
        with knock(short_path):
            await until(lambda: len(inside.peers) == room + 1)
        for connection in held:
            connection.close()


def test_an_allowance_is_used_up_and_fills_up_with_time() -> None:
    allowance = Allowance(rate=100, burst=2, now=0)
    assert allowance.take(200, now=0) == 0
    assert allowance.take(50, now=0) == 0.5
    assert allowance.take(50, now=1) == 0
    assert allowance.take(200, now=1000) == 0
    assert allowance.take(100, now=1000) == 1


async def test_who_says_much_is_heard_slowly_however_many_connections_it_has(short_path: Path) -> None:
    bounds = Bounds(stranger_rate=20_000, burst=1, connecting=0, strangers_each=4)
    async with behind(short_path, Door(nobody, bounds)) as inside:
        loop = asyncio.get_running_loop()
        began, knocking = loop.time(), [knock(short_path) for _ in range(4)]
        for connection in knocking:
            connection.setblocking(False)
            connection.send(bytes(10_000))
        await until(lambda: inside.heard == 40_000)
        assert loop.time() - began >= 0.9  # 20,000 at once, and as much a second later
        for connection in knocking:
            connection.close()


async def test_silence_and_nonsense_are_hung_up_on_and_others_are_served_meanwhile(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        (short_path / "outer").symlink_to(served.socket)
        with knock(short_path) as silent, knock(short_path) as mad:
            mad.sendall(b"GET / HTTP/1.1\r\n\r\n")
            svid = await served.ask(lambda client: client.fetch_x509_svid())
            assert svid.spiffe_id.path == "/ns/shop/sa/web"
            assert await ends(silent)


async def test_the_socket_is_for_all_users_in_a_folder_that_all_may_enter(short_path: Path) -> None:
    door, folder = Door(everybody), short_path / "run"
    async with door.open(folder / "outer", short_path / "inner"):
        assert (folder / "outer").stat().st_mode & 0o777 == 0o666
        assert folder.stat().st_mode & 0o777 == 0o755
    assert not (folder / "outer").exists()


async def test_a_folder_where_others_could_put_their_own_socket_is_refused(short_path: Path) -> None:
    short_path.chmod(0o777)
    with pytest.raises(CannotListen, match="others could put a socket of their own there"):
        async with Door(everybody).open(short_path / "outer", short_path / "inner"):
            pass
    short_path.chmod(0o1777)
    async with Door(everybody).open(short_path / "outer", short_path / "inner"):
        pass


async def test_a_socket_that_another_serves_is_taken_only_from_one_that_is_replaced(short_path: Path) -> None:
    first, second = Door(everybody), Door(everybody)
    async with behind(short_path, first) as inside:
        with pytest.raises(CannotListen, match="another process serves it"):
            async with second.open(short_path / "outer", short_path / "inner"):
                pass
        async with second.open(short_path / "outer", short_path / "inner", replace=True):
            with knock(short_path) as connection:
                connection.sendall(b"hello")
                await until(lambda: inside.heard == 5)
                assert second.connections == 1
