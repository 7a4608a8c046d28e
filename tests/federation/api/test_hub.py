"""The hub's admin API on TCP: who gets in."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from federation.api.hub import Hub, hub_application
from federation.hub_authority import open_or_create
from federation.probing import Probing
from federation.registry.clusterset import Clusterset
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.rotating import Rotated
from pki import keystore
from tests import builders

NOW = datetime.now(UTC)


async def nothing_due(*, force: bool = False, dry_run: bool = False) -> Rotated:
    return Rotated()


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (b"Authorization: Bearer right\r\n", b"200"),
        (b"Authorization: Bearer wrong\r\n", b"401"),
        (b"Authorization: Bearer \xff\xfe\r\n", b"401"),
        (b"Authorization: right\r\n", b"401"),
        (b"", b"401"),
    ],
    ids=["right", "wrong", "not UTF-8", "no bearer", "none"],
)
async def test_only_who_shows_the_token_gets_in(shown: bytes, status: bytes, tmp_path: Path) -> None:
    keystore.write(tmp_path / "token", b"right\n")
    store = await SqliteStore.open(tmp_path / "registry.db")
    authority = open_or_create(tmp_path, "fed.example", None, NOW, lambda: None)
    hub = Hub(
        authority,
        Registry(store, 100),
        Clusterset(),
        Probing(),
        (),
        lambda: NOW,
        nothing_due,
        builders.audit(),
    )
    server = TestServer(hub_application(hub, tmp_path / "token"))
    async with TestClient(server):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n" + shown + b"\r\n")
        assert (await reader.readline()).split()[1] == status
        writer.close()
    await store.close()
