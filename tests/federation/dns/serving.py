"""A name server on a real socket, for as long as a test asks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from federation.dns.forward import Forwarder
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from tests.builders import CLOUD, imported, view


@asynccontextmanager
async def serving(
    zone: Zone | None = None, listen: str = "127.0.0.1:0", forwarder: Forwarder | None = None
) -> AsyncIterator[DnsServer]:
    """Run a server for as long as the block lasts."""
    server = DnsServer.bind([listen], zone or Zone(view(imported("catalog", CLOUD))), forwarder)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        try:
            yield server
        finally:
            task.cancel()


def where(server: DnsServer) -> tuple[str, int]:
    host, _, port = server.addresses[0].rpartition(":")
    return host.strip("[]"), int(port)
