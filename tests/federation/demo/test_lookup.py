"""Names looked up as the demo does, at a real name server of an agent."""

import asyncio

import pytest

from federation.demo import lookup
from federation.dns.server import DnsServer
from federation.dns.zone import Zone
from tests.builders import CLOUD, imported, view

NAME = "catalog.shop.svc.clusterset.local"


async def test_an_agents_name_server_is_asked_for_both_kinds_of_address() -> None:
    server = DnsServer.bind(["127.0.0.1:0"], Zone(view(imported("catalog", CLOUD))))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        asked = [
            asyncio.to_thread(lookup.server_addresses, name, server.addresses[0])
            for name in (NAME, "x." + NAME)
        ]
        found, unknown = await asyncio.gather(*asked)
        task.cancel()
    assert found == {"241.0.0.1", "fd5f:ed:6a7e::1"}
    assert unknown == set()


def test_a_name_server_that_is_not_there_gives_no_address() -> None:
    assert lookup.server_addresses(NAME, "127.0.0.1:1") == set()


def test_the_systems_resolver_is_asked_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert lookup.main(["127.0.0.1"]) == 0
    assert lookup.Resolved.parse(capsys.readouterr().out).addresses == ("127.0.0.1",)
