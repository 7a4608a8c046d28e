"""One agent takes over from another; and whatever comes in its place does the running agent no harm."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from clusters.model import Offer
from clusters.reports import Phase, Report
from federation.dns.sockets import Bound, bind
from federation.errors import HandoverFailed
from federation.handover import Estate, Heir, Legacy, asked
from federation.last_view import LastView, Received
from federation.paths import handover_socket
from gateway.spec import GatewaySpec, Role
from tests.builders import CLOUD, federation, imported, member

SPEC = GatewaySpec("gw-1", frozenset(Role))
REPORT = Report("gw-1", Phase.UP, True, ())
CART = imported("cart", CLOUD)
LAST = LastView(Received(federation(), {CLOUD: member(CLOUD, "192.0.2.9")}, {CART.service: CART}), Offer())


class Running:
    """An agent that runs: what of it a hand-over touches."""

    serving: "asyncio.Task[None]"

    def __init__(self, state: Path, dns: tuple[Bound, ...], timeout: float) -> None:
        self.state = state
        self.path = state / "lock"
        self.lock = os.open(self.path, os.O_RDWR | os.O_CREAT)
        self.dns = dns
        self.gave = self.retired = 0
        self.legacy = Legacy(state, self._estate, self._retire, timeout=timeout)

    def _estate(self) -> Estate:
        self.gave += 1
        return Estate(self.lock, self.dns, LAST, (SPEC,), (REPORT,))

    async def _retire(self) -> None:
        self.retired += 1

    @property
    def unharmed(self) -> bool:
        """Whether it goes on as if nobody had asked: it writes to the disk, and answers."""
        return not self.legacy.frozen and not self.retired


@asynccontextmanager
async def running(state: Path, timeout: float = 30.0) -> AsyncIterator[Running]:
    """An agent on *state*, which waits for whoever takes over."""
    dns = (bind("127.0.0.1:0"), bind("[::1]:0"))
    agent = Running(state, dns, timeout)
    async with agent.legacy.listening() as listener, asyncio.TaskGroup() as group:
        agent.serving = group.create_task(agent.legacy.serve(listener))
        try:
            yield agent
        finally:
            agent.serving.cancel()
    agent.legacy.close()
    for bound in dns:
        bound.close()
    os.close(agent.lock)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def in_thread(state: Path, use: Callable[[Heir], Awaitable[None]]) -> None:
    """Be the new agent, in a loop of its own as it is in a process of its own."""

    def whole() -> None:
        with asked(state) as heir:
            assert heir is not None
            asyncio.run(_awaited(use(heir)))

    await asyncio.to_thread(whole)


async def _awaited(what: Awaitable[None]) -> None:
    await what


async def takes_over(agent: Running) -> None:
    """See that another agent can still take over."""
    taken = agent.gave

    async def look(heir: Heir) -> None:
        assert heir.estate.last == LAST

    await in_thread(agent.state, look)
    assert agent.gave == taken + 1
    await until(lambda: agent.unharmed)


async def test_the_estate_arrives_whole_with_its_open_files(short_path: Path) -> None:
    async with running(short_path) as agent:

        async def look(heir: Heir) -> None:
            estate = heir.estate
            assert (estate.last, estate.specs, estate.reports) == (LAST, (SPEC,), (REPORT,))
            assert os.fstat(estate.lock).st_ino == agent.path.stat().st_ino
            assert [bound.address for bound in estate.dns] == [bound.address for bound in agent.dns]
            for theirs, ours in zip(estate.dns, agent.dns, strict=True):
                assert theirs.udp.getsockname() == ours.udp.getsockname()
                assert theirs.tcp.getsockname() == ours.tcp.getsockname()

        await in_thread(short_path, look)


async def test_where_no_agent_runs_there_is_nothing_to_take(short_path: Path) -> None:
    with asked(short_path) as heir:
        assert heir is None
    async with running(short_path):
        pass
    with asked(short_path) as heir:
        assert heir is None


async def test_a_socket_that_a_killed_agent_left_is_nobodys(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(handover_socket(short_path)))
    with asked(short_path) as heir:
        assert heir is None


async def test_the_old_one_writes_nothing_from_the_moment_that_it_has_told_until_the_new_one_gives_up(
    short_path: Path,
) -> None:
    async with running(short_path) as agent:

        async def look(_: Heir) -> None:
            assert agent.legacy.frozen

        assert not agent.legacy.frozen
        await in_thread(short_path, look)
        await until(lambda: agent.unharmed)
        await takes_over(agent)


async def test_the_old_one_retires_when_it_is_told_that_all_is_taken(short_path: Path) -> None:
    agents: list[Running] = []

    async def old(ready: asyncio.Event) -> None:
        async with running(short_path) as agent:
            agents.append(agent)
            ready.set()
            await until(lambda: agent.retired == 1)
            assert agent.legacy.frozen

    ready = asyncio.Event()
    task = asyncio.create_task(old(ready))
    await ready.wait()
    await in_thread(short_path, lambda heir: heir.take())
    await task
    assert agents[0].retired == 1


async def test_the_new_one_goes_on_only_when_the_old_one_has_let_go_of_all_that_it_had(
    short_path: Path,
) -> None:
    """Its addresses for gateways elsewhere, of all things: they are had by one process at a time."""
    async with running(short_path) as agent:
        taking = asyncio.create_task(in_thread(short_path, lambda heir: heir.take()))
        await until(lambda: agent.retired == 1)
        agent.serving.cancel()
        done, _ = await asyncio.wait([taking], timeout=0.3)
        assert not done
        agent.legacy.close()
        await taking


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"\n",
        b"hello\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"protocol": "one"}\n',
        b'{"protocol": 1',
        b'{"protocol": 2}\n',
        b'{"taken": true}\n',
        b"x" * 100_000,
    ],
    ids=range(10),
)
async def test_who_does_not_ask_as_one_should_is_told_nothing(short_path: Path, words: bytes) -> None:
    async with running(short_path, timeout=5) as agent:
        reader, writer = await asyncio.open_unix_connection(handover_socket(short_path))
        writer.write(words)
        writer.write_eof()
        with suppress(ConnectionResetError):  # it hung up before it had read all
            assert await reader.read() == b""
        writer.close()
        await until(lambda: agent.unharmed)
        assert agent.gave == 0
        await takes_over(agent)


@pytest.mark.parametrize("words", [b"", b"\n", b"yes\n", b'{"taken": false}\n', b"x" * 10_000], ids=range(5))
async def test_an_heir_that_does_not_say_that_it_has_taken_all_has_taken_nothing(
    short_path: Path, words: bytes
) -> None:
    async with running(short_path, timeout=5) as agent:
        with socket.socket(socket.AF_UNIX) as heir:
            heir.connect(str(handover_socket(short_path)))
            heir.sendall(b'{"protocol": 1}\n')
            await until(lambda: agent.legacy.frozen)
            heir.sendall(words)
        await until(lambda: agent.unharmed)
        await takes_over(agent)


@pytest.mark.parametrize("asks", [False, True])
async def test_an_heir_that_falls_silent_is_let_go_and_others_may_come(short_path: Path, asks: bool) -> None:
    """Nothing tells a frozen process from one that is slow; the connection stays half open."""
    async with running(short_path, timeout=0.2) as agent:
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(str(handover_socket(short_path)))
        if asks:
            silent.sendall(b'{"protocol": 1}\n')
            await until(lambda: agent.legacy.frozen)
        await takes_over(agent)
        silent.close()


async def test_an_heir_that_comes_too_late_does_not_go_on(short_path: Path) -> None:
    async with running(short_path, timeout=0.05) as agent:

        async def late(heir: Heir) -> None:
            await until(lambda: agent.unharmed)
            with pytest.raises(HandoverFailed, match="did not wait"):
                await heir.take()

        await in_thread(short_path, late)
        assert agent.unharmed


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no\n",
        json.dumps({"protocol": 1, "dns": ["127.0.0.1:53"], "view": 0, "specs": []}).encode() + b"\n",
        json.dumps({"protocol": 1, "dns": [], "view": 10, "specs": []}).encode() + b"\n{}",
        json.dumps({"protocol": 1, "dns": [], "view": 0}).encode() + b"\n",
    ],
)
async def test_an_old_agent_that_answers_nonsense_is_not_taken_over(short_path: Path, answer: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    def ask() -> None:
        with asked(short_path):
            raise AssertionError("it was taken over")

    async with await asyncio.start_unix_server(other, handover_socket(short_path)):
        with pytest.raises(HandoverFailed, match="was not taken over"):
            await asyncio.to_thread(ask)


ASK = """
import os, sys
from pathlib import Path
from federation.errors import HandoverFailed
from federation.handover import asked
os.setgroups([])
os.setuid(65534)
try:
    with asked(Path(sys.argv[1])) as heir:
        print("got it")
except HandoverFailed as error:
    print(error)
"""


async def test_another_user_gets_nothing(short_path: Path) -> None:
    async with running(short_path) as agent:
        assert handover_socket(short_path).stat().st_mode & 0o777 == 0o600
        if os.geteuid() == 0:
            short_path.chmod(0o755)
            argv = [sys.executable, "-c", ASK, str(short_path)]
            done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=True)
            assert "Permission denied" in done.stdout
        assert (agent.gave, agent.unharmed) == (0, True)
