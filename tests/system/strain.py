"""What tests of limits need: a neighbour who must notice nothing, and what an attack costs a gateway."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from tests.system.edits import Edit
from tests.system.mesh import Cluster, Handler, Mesh, as_translated, connect, greet, mesh, until

Line: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

MIB = 1 << 20
GIB = 1 << 30


def resident(cluster: Cluster) -> int:
    """The memory of the cluster's Envoy, in bytes."""
    assert cluster.process is not None
    status = Path(f"/proc/{cluster.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


class Neighbour:
    """Somebody who makes ordinary calls, one after the other, and notes what becomes of them.

    *call* makes one, and raises OSError or EOFError if it goes wrong.
    """

    def __init__(self, call: Callable[[], Awaitable[None]]) -> None:
        self._call = call
        self.took: list[float] = []
        self.failed: list[str] = []

    @asynccontextmanager
    async def calling(self) -> AsyncIterator["Neighbour"]:
        """Call until the block is left."""
        task = asyncio.create_task(self._call_again_and_again())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _call_again_and_again(self) -> None:
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(15):  # attackers are run by the same loop, and hold it up
                    await self._call()
            except (OSError, EOFError) as error:
                self.failed.append(repr(error))
            else:
                self.took.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    async def has_called(self, times: int) -> None:
        """Wait until it has called so often, well or not, from now on."""
        before = len(self.took) + len(self.failed)

        async def often_enough() -> bool:
            return len(self.took) + len(self.failed) >= before + times

        await until(often_enough, what=f"{times} calls", timeout=30)

    def noticed_nothing(self) -> None:
        """No call failed, and there were some; nor did the usual one take long."""
        assert self.failed == []
        assert len(self.took) > 20
        assert statistics.median(self.took) < 1


async def call_greeter(to: tuple[str, int], source: str) -> None:
    """A call to a server that greets and repeats."""
    reader, writer = await connect(to, source)
    try:
        await reader.readuntil(b"\n")
        writer.write(b"hello\n")
        if await reader.readuntil(b"\n") != b"hello\n":
            raise EOFError("the answer is another's")
    finally:
        writer.close()


@asynccontextmanager
async def under_strain(
    folder: Path, *, edit: Edit = as_translated, edit_bootstrap: Callable[[str], str] = str
) -> AsyncIterator[tuple[Mesh, Neighbour]]:
    """Two clusters, and a neighbour who calls from one to the other."""
    async with mesh(folder, edit=edit, edit_bootstrap=edit_bootstrap) as built:
        cloud, onprem = built["cloud"], built["onprem"]
        port = await built.serve(cloud.address(3, 1), greet)
        built.service("neighbour", {"cloud": [(cloud.address(3, 1), port)]})
        built.caller("onprem", "neighbour", onprem.address(2, 1))
        await onprem.settled()
        await cloud.settled()
        to, source = built.vip("onprem", "neighbour"), onprem.address(2, 1)
        yield built, Neighbour(lambda: call_greeter(to, source))


async def offered(built: Mesh, name: str, handler: Handler, speaks: str = "") -> tuple[str, int]:
    """A service in `cloud`; where it is called in `onprem`."""
    cloud, onprem = built["cloud"], built["onprem"]
    port = await built.serve(cloud.address(3, 2), handler)
    built.service(name, {"cloud": [(cloud.address(3, 2), port)]}, speaks=speaks)
    await onprem.settled()
    await cloud.settled()
    return built.vip("onprem", name)


async def grown(clusters: Iterable[Cluster], act: Awaitable[None]) -> dict[str, int]:
    """By how much each gateway's memory has ever been more than before, in MiB, while *act* went on."""
    before = {cluster: resident(cluster) for cluster in clusters}
    most = dict(before)
    acting = asyncio.ensure_future(act)
    while not acting.done():
        await asyncio.wait([acting], timeout=0.1)
        most = {cluster: max(most[cluster], resident(cluster)) for cluster in before}
    await acting
    return {cluster.name: most[cluster] - before[cluster] >> 20 for cluster in before}


async def dialled(to: tuple[str, int], source: str, count: int) -> list[Line]:
    """So many connections."""
    return [await connect(to, source) for _ in range(count)]


async def let_go(built: Mesh, lines: Iterable[Line]) -> None:
    """Hang up on all *lines*, and wait until the egress has let go of them."""
    for _, writer in lines:
        writer.transport.abort()

    async def none_left() -> bool:
        return await built["onprem"].stat(r"^listener\.egress\.downstream_cx_active$") == 0

    await until(none_left, what="the egress to let go")
