"""The hub's admin API for trust domains outside."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509

from clusters.foreign import BundleEndpoint
from clusters.model import Federation
from federation.api.http import application
from federation.api.trust import add_trust, trust_checks
from federation.errors import BundleNotFetched
from federation.registry.mirror import Mirror
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.trust.follower import Follower
from pki.spiffe_bundle import document
from tests import builders
from tests.authorities import NOW, Authorities

ROOT = Authorities(domain="other.example").root.certificate
BUNDLE = document([ROOT], [], sequence=3).decode()
WEB = {"trust_domain": "other.example", "url": "https://other.example/bundle"}
SPIFFE = {**WEB, "profile": "https_spiffe", "spiffe_id": "spiffe://other.example/hub"}

Client = TestClient[web.Request, web.Application]


@dataclass
class World:
    """A hub's face, and what the endpoint outside answers."""

    store: SqliteStore
    now: datetime = NOW
    answer: str = ""
    follower: Follower = field(init=False)

    def __post_init__(self) -> None:
        self.mirror = Mirror(self.store)
        self.registry = Registry(self.store, 10)
        clusterset = self.mirror.clusterset
        self.follower = Follower(self.registry.trusts, clusterset, lambda: self.now, self.fetch)

    async def fetch(self, endpoint: BundleEndpoint, _: Sequence[x509.Certificate]) -> str:
        if not self.answer:
            raise BundleNotFetched(endpoint.trust_domain, "nobody answers")
        return self.answer

    async def seen(self) -> None:
        await anext(self.mirror.changes())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(await SqliteStore.open(tmp_path / "registry.db"))
    await made.registry.set_federation(Federation("fed.example", (), builders.VIP_RANGES))
    await made.seen()
    yield made
    await made.store.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    app = application()
    add_trust(app, world.follower, builders.audit())
    async with TestClient(TestServer(app)) as made:
        yield made


async def state(world: World, client: Client) -> str:
    await world.seen()
    shown = await (await client.get("/v1/trust/other.example")).json()
    return str(shown["state"])


async def test_one_is_added_followed_shown_and_removed(world: World, client: Client) -> None:
    assert (await client.post("/v1/trust", json=WEB)).status == 200
    assert await state(world, client) == "pending"
    await world.follower.look()
    assert await state(world, client) == "failed"
    world.now, world.answer = world.now + timedelta(minutes=1), BUNDLE
    await world.follower.look()
    assert await state(world, client) == "good"
    (shown,) = (await (await client.get("/v1/trust")).json())["trust"]
    assert (shown["authorities"], shown["sequence"], shown["profile"]) == (1, 3, "https_web")
    assert [check.status for check in trust_checks(world.follower)] == ["ok"]
    world.now, world.answer = world.now + timedelta(minutes=16), ""
    await world.follower.look()
    assert await state(world, client) == "stale"
    assert [check.status for check in trust_checks(world.follower)] == ["warn"]
    assert (await client.delete("/v1/trust/other.example")).status == 200
    await world.seen()
    assert (await client.get("/v1/trust/other.example")).status == 404
    assert (await client.delete("/v1/trust/other.example")).status == 404


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({**WEB, "trust_domain": "cloud.fed.example"}, 400, "belongs to this federation"),
        ({**WEB, "trust_domain": "fed.example"}, 400, "belongs to this federation"),
        ({**WEB, "url": "http://other.example/"}, 400, "want https://"),
        ({**WEB, "profile": "https_spiffe"}, 400, "wants the SPIFFE ID"),
        ({**WEB, "bundle": "{}"}, 400, "not a SPIFFE bundle"),
        ({**WEB, "profile": "other"}, 400, "profile"),
        (SPIFFE, 409, "no bundle of other.example is known"),
    ],
)
async def test_what_cannot_be_followed_is_refused(
    client: Client, asked: dict[str, str], status: int, told: str
) -> None:
    answer = await client.post("/v1/trust", json=asked)
    assert answer.status == status
    assert told in (await answer.json())["error"]["message"]


async def test_with_https_spiffe_the_first_bundle_comes_from_the_operator(
    world: World, client: Client
) -> None:
    assert (await client.post("/v1/trust", json={**SPIFFE, "bundle": BUNDLE})).status == 200
    await world.seen()
    member = {**SPIFFE, "trust_domain": "west.other.example"}
    assert (await client.post("/v1/trust", json=member)).status == 200
