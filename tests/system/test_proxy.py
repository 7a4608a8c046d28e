"""An Envoy's life under supervision: started, kept up, drained. A real Envoy."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.admin import Admin
from gateway.ads import Ads
from gateway.bootstrap import UnixAgent, admin_socket
from gateway.delta import Catalogue
from gateway.errors import EnvoyFailed
from gateway.proxy import ProxySettings, drain, prepare, supervise
from gateway.rpc import Peer, UnixListener
from gateway.spec import GatewaySpec, Role
from tests.system.mesh import connect, first_line, greet, mesh, until

pytestmark = pytest.mark.envoy


def settings(place: Path) -> ProxySettings:
    spec = GatewaySpec("gw", frozenset({Role.EGRESS}))
    return ProxySettings(spec, UnixAgent(place / "ads.sock"), place / "run", concurrency=1)


async def nothing(_peer: Peer, _spec: GatewaySpec) -> Catalogue:
    return Catalogue()


@asynccontextmanager
async def supervised(chosen: ProxySettings) -> AsyncIterator[asyncio.Event]:
    """A supervised gateway that is live; gives what stops it."""
    stop = asyncio.Event()
    agent = chosen.agent
    assert isinstance(agent, UnixAgent)
    async with (
        Ads(nothing).serving([UnixListener(agent.socket)]),
        Admin(admin_socket(chosen.folder)) as admin,
    ):
        task = asyncio.create_task(supervise(chosen, stop))
        try:
            await until(admin.is_live, what="the gateway to be live")
            yield stop
        finally:
            stop.set()
            await task


async def pid_of(folder: Path) -> int:
    """The Envoy that has its admin socket in *folder*."""
    async with Admin(admin_socket(folder)) as admin:
        await until(admin.is_live, what="the gateway to be live")
    wanted = str(folder / "bootstrap.json").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = (entry / "cmdline").read_bytes().split(b"\0") if (entry / "cmdline").exists() else []
            if wanted in words and b"--mode" not in words:
                return int(entry.name)
    raise AssertionError("no Envoy there")


async def test_a_gateway_that_is_killed_is_started_again(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    async with supervised(chosen):
        first = await pid_of(chosen.folder)
        os.kill(first, signal.SIGKILL)

        async def another() -> bool:
            return await pid_of(chosen.folder) != first

        await until(another, what="another Envoy")


async def test_what_is_written_and_served_is_for_the_owner_alone(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    chosen.folder.mkdir(mode=0o755)
    async with supervised(chosen):
        assert stat.S_IMODE(chosen.folder.stat().st_mode) == 0o700
        for path in chosen.folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_a_configuration_that_envoy_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    refused = replace(settings(tmp_path), agent=UnixAgent(tmp_path / ("x" * 200)))
    with pytest.raises(EnvoyFailed, match="exceeds maximum UNIX domain socket path size"):
        await supervise(refused, asyncio.Event())


def test_a_folder_whose_path_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvoyFailed, match="too long for a socket"):
        prepare(replace(settings(tmp_path), folder=tmp_path / ("x" * 100)))


async def test_envoy_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from gateway.bootstrap import UnixAgent\nfrom gateway.proxy import ProxySettings, run\n"
        "from gateway.spec import GatewaySpec, Role\nfolder = Path(sys.argv[1])\n"
        "run(ProxySettings(GatewaySpec('gw', frozenset({Role.EGRESS})), "
        "UnixAgent(folder / 'ads.sock'), folder / 'run', concurrency=1))\n"
    )
    quiet = asyncio.subprocess.DEVNULL
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=quiet, stderr=quiet
    )
    try:
        async with Ads(nothing).serving([UnixListener(tmp_path / "ads.sock")]):
            envoy = await pid_of(tmp_path / "run")
    finally:
        parent.kill()
        await parent.wait()

    async def gone() -> bool:
        return not Path(f"/proc/{envoy}").exists()

    await until(gone, what="Envoy to end")


async def test_draining_lets_open_calls_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        cloud, onprem = built["cloud"], built["onprem"]
        port = await built.serve(cloud.address(3, 1), greet)
        built.service("catalog", {"cloud": [(cloud.address(3, 1), port)]})
        built.caller("onprem", "frontend", onprem.address(2, 1))
        await onprem.settled()
        to = built.vip("onprem", "catalog")
        reader, writer = await connect(to, onprem.address(2, 1))
        assert await reader.readline()
        draining = asyncio.create_task(drain(onprem.admin, 5))

        async def refused() -> bool:
            return await first_line(to, onprem.address(2, 1)) == ""

        await until(refused, what="new connections to be refused")
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
        assert await draining == 0


async def test_a_call_that_does_not_end_is_cut_when_the_drain_timeout_is_over(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        cloud, onprem = built["cloud"], built["onprem"]
        port = await built.serve(cloud.address(3, 1), greet)
        built.service("catalog", {"cloud": [(cloud.address(3, 1), port)]})
        built.caller("onprem", "frontend", onprem.address(2, 1))
        await onprem.settled()
        reader, writer = await connect(built.vip("onprem", "catalog"), onprem.address(2, 1))
        assert await reader.readline()
        assert await drain(onprem.admin, 0.3) > 0
        assert await drain(cloud.admin, 0.3) > 0
        writer.close()
