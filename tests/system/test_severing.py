"""Open connections to and from a cluster that is none any more, on real Envoys."""

import asyncio
import queue
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clusters.clock import utc_now
from clusters.reports import Notice
from federation.severing import Severing
from gateway.bootstrap import admin_socket
from gateway.probes import Lookout
from tests.system.mesh import Cluster, Mesh, connect, mesh, until

pytestmark = pytest.mark.envoy

SOON = 5.0  # seconds; it takes a tenth of one on a machine with nothing else to do


async def speak_for_ever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"and on\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@dataclass
class Call:
    """An open call to a server that never stops."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        try:
            while await self.reader.readline():
                self.heard += 1
        except ConnectionError:
            pass
        self.ended.set()
        self.writer.close()

    async def goes_on(self) -> None:
        before = self.heard

        async def heard_more() -> bool:
            return self.heard > before

        await until(heard_more, what="more to be heard")
        assert not self.ended.is_set()

    async def ends(self) -> None:
        async with asyncio.timeout(SOON):
            await self.ended.wait()


class World:
    """Three clusters, each with a server and a caller."""

    def __init__(self, built: Mesh, tasks: asyncio.TaskGroup) -> None:
        self.built = built
        self.tasks = tasks

    def __getitem__(self, name: str) -> Cluster:
        return self.built[name]

    def source(self, name: str, host: int = 1) -> str:
        return self[name].address(2, host)

    async def call(self, caller: str, callee: str, host: int = 1) -> Call:
        """Call across, until something has been heard."""
        call = Call(*await connect(self.built.vip(caller, callee), self.source(caller, host)))
        self.tasks.create_task(call.listen())
        await call.goes_on()
        return call

    def shut_out(self, name: str, *, by: str) -> None:
        """Take the member *name* from the view of *by*."""
        members = self[by].view.members
        self[by].publish_members({n: member for n, member in members.items() if n != name})


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with mesh(folder, clusters=("onprem", "cloud", "edge")) as built, asyncio.TaskGroup() as tasks:
        for name, cluster in built.clusters.items():
            built.caller(name, "app", cluster.address(2, 1))
            built.caller(name, "other", cluster.address(2, 2))
            port = await built.serve(cluster.address(3, 1), speak_for_ever)
            built.service(name, {name: [(cluster.address(3, 1), port)]})
        for cluster in built.clusters.values():
            await cluster.settled()
        made = World(built, tasks)
        yield made
        for cluster in built.clusters.values():
            await cluster.kill()


class Agent:
    """Says what it is told to, to who waits for it."""

    def __init__(self) -> None:
        self.notices: queue.Queue[Notice] = queue.Queue()

    def ask(self, seen: str) -> Notice:
        try:
            return self.notices.get(timeout=0.2)
        except queue.Empty:
            return Notice(seen)


@asynccontextmanager
async def severing(cluster: Cluster) -> AsyncIterator[Agent]:
    """What minds the Envoy of *cluster*."""
    agent = Agent()
    lookout = Lookout(admin_socket(cluster.folder), utc_now)
    await asyncio.to_thread(lookout.look)
    with Severing(agent.ask, lambda: cluster.process.pid if cluster.process else None, lookout):
        yield agent


async def test_what_is_open_to_and_from_a_cluster_that_is_shut_out_ends_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as made, severing(made["onprem"]) as agent:
        to, back = await made.call("onprem", "cloud"), await made.call("cloud", "onprem")
        others = [
            await made.call(*pair) for pair in (("onprem", "edge"), ("edge", "onprem"), ("onprem", "onprem"))
        ]
        made.shut_out("cloud", by="onprem")
        agent.notices.put(Notice("1"))
        await asyncio.gather(to.ends(), back.ends())
        for call in others:
            await call.goes_on()


async def test_what_a_cluster_has_open_ends_with_its_filter_chain_and_needs_nobody_to_sever_it(
    tmp_path: Path,
) -> None:
    """Envoy waits for its drain time with that: ten minutes, unless it is told that there is none.

    A gateway that may not reach into its Envoy has nothing else against who is shut out and talks on.
    """
    async with world(tmp_path) as made:
        back, other = await made.call("cloud", "onprem"), await made.call("edge", "onprem")
        made.shut_out("cloud", by="onprem")
        await back.ends()
        await other.goes_on()


async def test_without_severing_what_is_open_to_it_goes_on(tmp_path: Path) -> None:
    """Why there is such a thing: when this fails, Envoy does it by itself."""
    async with world(tmp_path) as made:
        to = await made.call("onprem", "cloud")
        made.shut_out("cloud", by="onprem")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            await to.goes_on()


async def test_calls_of_a_barred_address_end_and_those_of_others_do_not(tmp_path: Path) -> None:
    async with world(tmp_path) as made, severing(made["onprem"]) as agent:
        barred = await made.call("onprem", "cloud")
        other, back = await made.call("onprem", "cloud", 2), await made.call("cloud", "onprem")
        agent.notices.put(Notice("1", (made.source("onprem"),)))
        await barred.ends()
        await other.goes_on()
        await back.goes_on()
