import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from federation.sync.records import IMPORT
from tests.authorities import Authorities
from tests.federation.sync.test_connection import Agent, Hub, put


class Wire:
    """A TCP connection between two ports that can go silent without closing."""

    def __init__(self) -> None:
        self.cut = False

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[str]:
        writers: list[asyncio.StreamWriter] = []

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    if not self.cut:
                        writer.write(data)

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.extend((writer, far_writer))
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

        server = await asyncio.start_server(joined, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for writer in writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_both_sides_notice_within_ten_seconds_that_the_other_is_silent() -> None:
    authorities, wire = Authorities(now=datetime.now(UTC)), Wire()
    hub = Hub(authorities)
    put(hub.catalogue, IMPORT, catalog="1")
    async with hub.serving() as address, wire.to(int(address.rpartition(":")[2])) as through:
        agent = Agent(authorities, through)
        async with agent.running():
            await agent.has(catalog="1")
            wire.cut = True
            async with asyncio.timeout(10):
                async for state in agent.client.state:
                    if not state.connected:
                        break
                while hub.sessions[-1] != "-west":  # noqa: ASYNC110 (the hub's server says so to nobody)
                    await asyncio.sleep(0.05)
