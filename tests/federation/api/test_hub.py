"""The hub's admin API on TCP: who gets in."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from clusters.names import ClusterName
from federation.anchoring import Anchoring
from federation.api.hub import hub_application
from federation.api.hub_face import Hub
from federation.hub_authority import open_or_create
from federation.probing import Probing
from federation.registry.clusterset import Clusterset
from federation.registry.members import JoinRequest
from federation.registry.mirror import Mirror
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.rotating import Rotated
from federation.trust.fetching import fetch
from federation.trust.follower import Follower
from pki import keystore
from pki.csr import make_csr, verify_csr
from pki.signer import KeySigner
from tests import builders

NOW = datetime.now(UTC)
WEST = ClusterName("west")


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
    registry, clusterset = Registry(store, 100), Clusterset()
    follower = Follower(registry.trusts, clusterset, lambda: NOW, fetch)
    hub = Hub(
        authority,
        registry,
        clusterset,
        Probing(),
        Anchoring(),
        tuple,
        lambda: NOW,
        nothing_due,
        builders.audit(),
        follower,
    )
    server = TestServer(hub_application(hub, tmp_path / "token"))
    async with TestClient(server):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n" + shown + b"\r\n")
        assert (await reader.readline()).split()[1] == status
        writer.close()
    await store.close()


async def test_a_cluster_is_evicted_and_readmitted(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "registry.db")
    authority = open_or_create(tmp_path, "fed.example", None, NOW, lambda: None)
    registry, mirror = Registry(store, 100), Mirror(store)
    await registry.tokens.add(TokenRecord("t", "hash", WEST, NOW, NOW + timedelta(hours=1)))
    anchor = "".join(authority.sign_issuing_ca(verify_csr(make_csr(KeySigner.generate().key)), WEST, NOW))
    await registry.members.join(JoinRequest("t", "hash", WEST), "west.fed.example", anchor, NOW)
    known, addresses, audit = mirror.clusterset, ("hub.example:1",), builders.audit()
    follower = Follower(registry.trusts, known, lambda: NOW, fetch)
    heard, found_at = (Probing(), Anchoring()), lambda: addresses
    hub = Hub(authority, registry, known, *heard, found_at, lambda: NOW, nothing_due, audit, follower)
    async with TestClient(TestServer(hub_application(hub))) as client:
        answer = await (await client.post("/v1/clusters/west/evict", json={})).json()
        assert (answer["name"], answer["state"], answer["connected"]) == ("west", "evicted", False)
        await anext(mirror.changes())
        listed = await (await client.get("/v1/clusters")).json()
        assert [(c["name"], c["state"]) for c in listed["clusters"]] == [("west", "evicted")]
        refused = await client.post("/v1/tokens", json={"cluster": "west"})
        error = (await refused.json())["error"]
        assert (refused.status, error["code"]) == (403, "evicted")
        assert (await client.post("/v1/clusters/west/readmit")).status == 200
        assert (await client.post("/v1/clusters/west/readmit")).status == 404
        assert (await client.post("/v1/tokens", json={"cluster": "west"})).status == 200
    await store.close()
