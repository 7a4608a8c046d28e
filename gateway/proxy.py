"""Running one Envoy as a gateway: start it, keep it up, and take it away without cutting calls.

`run` is what `fedgate gateways run` does, until it is told to stop: new connections are refused then, those
that are open may end in their own time, and after the drain timeout Envoy is stopped.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gateway import egress, ingress, tunnel_log
from gateway.admin import Admin
from gateway.binary import arguments, find_envoy
from gateway.bootstrap import Agent, admin_socket, bootstrap_file, files
from gateway.errors import EnvoyFailed
from gateway.limits import DEFAULT_MEMORY
from gateway.spec import GatewaySpec, without_ipv6
from gateway.watch import watch_limits

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_STEADY: Final = 30.0  # up for so long, an Envoy that ends has not failed to start
_KILL_AFTER: Final = 5.0
_POLL: Final = 0.1
_LONGEST_SOCKET_PATH: Final = 107
_OPEN_CALLS: Final = (
    rf"^(listener\.{egress.STATS}\.downstream_cx_active|http\.{ingress.STATS}\.downstream_rq_active)$"
)

# Run in the child before Envoy: end with the parent however that ends, and take every file we may have.
_EXEC: Final = """
import ctypes, os, resource, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]): sys.exit("parent has ended")
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What to run, where its agent is, and the folder that it has for itself.

    `concurrency` is the number of worker threads; by default there is one for each core. `memory` is how
    many bytes its Envoy may take.
    """

    spec: GatewaySpec
    agent: Agent
    folder: Path
    concurrency: int | None = None
    drain_timeout: float = 30.0
    memory: int = DEFAULT_MEMORY


class Witness(Protocol):
    """Whoever is to know how the gateway is."""

    def up(self, pid: int) -> None:
        """Envoy, the process *pid*, takes calls."""

    def failed(self, restarts: int, how: str) -> None:
        """Envoy has ended by itself, for the *restarts*-th time, and is started again."""

    async def leaving(self) -> None:
        """Envoy will take no new calls; it goes on until this returns."""


class Nobody:
    """A witness that does nothing."""

    def up(self, pid: int) -> None:
        """So what."""

    def failed(self, restarts: int, how: str) -> None:
        """Never mind."""

    async def leaving(self) -> None:
        """Farewell."""


def run(settings: ProxySettings, witness: Witness | None = None) -> None:
    """Run the gateway until SIGTERM or SIGINT; a second one stops it without waiting.

    Raises EnvoyNotFound, and EnvoyFailed for a configuration that Envoy refuses.
    """
    asyncio.run(_run_until_signalled(settings, witness or Nobody()))


async def _run_until_signalled(settings: ProxySettings, witness: Witness) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await supervise(settings, stop, hurry, witness=witness)


async def supervise(
    settings: ProxySettings,
    stop: asyncio.Event,
    hurry: asyncio.Event | None = None,
    *,
    envoy: Path | None = None,
    witness: Witness | None = None,
) -> None:
    """Keep an Envoy running until *stop* is set, then drain it; *hurry* ends the wait."""
    binary = envoy or find_envoy()
    prepare(settings)
    await validate(binary, bootstrap_file(settings.folder))
    command = arguments(binary, bootstrap_file(settings.folder), concurrency=settings.concurrency)
    pause, restarts, witness = _SHORTEST_PAUSE, 0, witness or Nobody()
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        started = loop.time()
        async with _started(command) as process:
            _log(logging.INFO, "gateway started", gateway=settings.spec.name, pid=process.pid)
            await _first_of(process.wait(), stop.wait(), _told_when_up(settings, witness, process.pid))
            if process.returncode is None:
                await _drain(settings, process, hurry or asyncio.Event(), witness)
                return
        restarts += 1
        witness.failed(restarts, _ending(process.returncode))
        if loop.time() - started > _STEADY:
            pause = _SHORTEST_PAUSE
        _log(
            logging.ERROR,
            "gateway ended by itself, starting it again",
            gateway=settings.spec.name,
            code=process.returncode,
            pause=pause,
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _told_when_up(settings: ProxySettings, witness: Witness, pid: int) -> None:
    """Tell the witness when Envoy takes calls, and everybody when it hits a limit; never returns."""
    async with Admin(admin_socket(settings.folder)) as admin:
        while not await admin.is_live():  # noqa: ASYNC110 (Envoy tells nobody)
            await asyncio.sleep(_POLL)
        witness.up(pid)
        await watch_limits(admin, settings.spec.name)


def _ending(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {-code}" if code < 0 else f"status {code}"


def prepare(settings: ProxySettings) -> None:
    """Make the gateway's folder, for its owner alone, and write what Envoy reads."""
    folder = settings.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # also when it was there before
    if len(os.fsencode(admin_socket(folder))) > _LONGEST_SOCKET_PATH:
        raise EnvoyFailed(
            f"the path of {admin_socket(folder)} is too long for a socket: use a shorter folder"
        )
    spec = settings.spec if _has_ipv6() else without_ipv6(settings.spec)
    for path, text in files(spec, settings.agent, folder, settings.memory).items():
        _write(path, text)
    admin_socket(folder).unlink(missing_ok=True)
    if spec.tunnel_log is not None:
        tunnel_log.clear(Path(spec.tunnel_log))


def _has_ipv6() -> bool:
    """Whether the kernel knows IPv6: that there is no such address yet does not matter."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    """Replace *path* at once, readable by its owner alone."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    new.replace(path)


async def validate(envoy: Path, bootstrap: Path) -> None:
    """Have Envoy read *bootstrap* without running it; raise EnvoyFailed with what it says against it."""
    process = await asyncio.create_subprocess_exec(
        *arguments(envoy, bootstrap),
        "--mode",
        "validate",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise EnvoyFailed(f"Envoy refuses {bootstrap}", output.decode(errors="replace").strip()[-2000:])


@contextlib.asynccontextmanager
async def _started(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """An Envoy, in a session of its own so that Ctrl-C is ours to answer; gone when the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-c",
        _EXEC,
        str(os.getpid()),
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await _stopped(process)


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """End *process*, gently at first."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _KILL_AFTER)
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _first_of(*these: Coroutine[object, object, object]) -> None:
    """Wait until one of *these* has ended, and cancel the others; raise what it raised."""
    tasks = [asyncio.ensure_future(this) for this in these]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(
    settings: ProxySettings, process: asyncio.subprocess.Process, hurry: asyncio.Event, witness: Witness
) -> None:
    """Let callers go elsewhere, then drain, unless Envoy ends meanwhile or we are told to hurry."""
    name = settings.spec.name
    await _first_of(witness.leaving(), process.wait(), hurry.wait())
    async with Admin(admin_socket(settings.folder)) as admin:
        try:
            await _first_of(drain(admin, settings.drain_timeout), process.wait(), hurry.wait())
            left = 0 if process.returncode is not None else await open_calls(admin)
        except EnvoyFailed as error:
            _log(logging.WARNING, "gateway not drained", gateway=name, reason=str(error))
        else:
            _log(logging.INFO, "gateway drained", gateway=name, calls_cut=left)


async def drain(admin: Admin, seconds: float) -> int:
    """Take no new connections, and wait up to *seconds* for the calls to end; how many are left?"""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    await admin.post("/drain_listeners?graceful")
    while (left := await open_calls(admin)) and loop.time() < deadline:  # noqa: ASYNC110 (Envoy tells nobody)
        await asyncio.sleep(_POLL)
    return left


async def open_calls(admin: Admin) -> int:
    """The calls that go through: connections at the egress, tunnels at the ingress.

    Tunnels' own connections are not counted: peers keep those open without a call in them.
    """
    return sum((await admin.stats(_OPEN_CALLS)).values())


def _log(level: int, event: str, **fields: object) -> None:
    log.log(level, event, extra={"fields": fields})
