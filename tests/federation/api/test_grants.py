"""Grants at the hub's admin API, on both stores: seen, changed as a whole, and said beforehand."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from federation.api.grants import add_grants, grant_checks, grant_metrics
from federation.api.http import application
from federation.audit import Audit
from federation.errors import GrantsChanged
from federation.registry.grants import Default, Defaults, Grant, Grants
from federation.registry.mirror import Mirror
from federation.registry.registry import Registry
from federation.registry.store import Store
from tests.builders import CLOUD, ONPREM, audit
from tests.federation.registry.conftest import bench, one_etcd, registry, store
from tests.federation.registry.worlds import NOW, exports, joined, service

__all__ = ["bench", "one_etcd", "registry", "store"]

DENY: dict[str, object] = {"defaults": {"exports": "deny"}}


@dataclass
class Hub:
    mirror: Mirror
    registry: Registry
    audit: Audit
    client: TestClient[web.Request, web.Application]

    async def replace(
        self, grants: dict[str, object], revision: int, *, dry_run: bool = False
    ) -> dict[str, object]:
        body = {"text": json.dumps(grants), "revision": revision, "dry_run": dry_run}
        answer = await self.client.post("/v1/grants", json=body)
        found: dict[str, object] = await answer.json()
        return {"status": answer.status, **found}


@pytest.fixture
async def hub(store: Store, registry: Registry) -> AsyncIterator[Hub]:
    await joined(registry, ONPREM, CLOUD)
    await registry.offers.set_exports(ONPREM, exports("cart"), NOW)
    mirror, record, app = Mirror(store), audit(), application()
    await anext(mirror.changes())
    add_grants(app, registry.policies, mirror.clusterset, record)
    async with TestClient(TestServer(app)) as client:
        yield Hub(mirror, registry, record, client)


async def test_there_are_none_at_first_and_everything_is_allowed(hub: Hub) -> None:
    told = await (await hub.client.get("/v1/grants")).json()
    assert (told["revision"], told["grants"], told["defaults"]["exports"]) == (0, [], "allow")


async def test_a_dry_run_says_what_would_be_lost_and_writes_nothing(hub: Hub) -> None:
    answer = await hub.replace(DENY, 0, dry_run=True)
    assert answer["changes"] == ["default of exports is deny"]
    assert answer["effects"] == [
        {
            "of": "service",
            "cluster": "onprem",
            "name": "shop/cart",
            "lost": True,
            "now": "no grant lets onprem export shop/cart",
        }
    ]
    assert (await hub.registry.policies.get()).revision == 0
    assert hub.audit.waiting == ()


async def test_what_is_written_holds_at_once_and_is_in_the_audit_record(hub: Hub) -> None:
    assert (await hub.replace(DENY, 0))["status"] == 200
    await anext(hub.mirror.changes())
    assert hub.mirror.clusterset.import_(service("cart")) is None
    (event,) = hub.audit.waiting
    assert (event.action, event.details["lost"]) == ("grants-changed", "1")
    revision = (await hub.registry.policies.get()).revision
    shop = {"name": "shop", "clusters": ["onprem"], "exports": ["shop/*"]}
    assert (await hub.replace({**DENY, "grants": [shop]}, revision))["changes"] == ["grant shop added"]
    await anext(hub.mirror.changes())
    assert hub.mirror.clusterset.import_(service("cart"))


async def test_check_names_what_is_refused_of_whom(hub: Hub) -> None:
    assert list(grant_checks(hub.mirror.clusterset)) == []
    await hub.replace(DENY, 0)
    await anext(hub.mirror.changes())
    (check,) = grant_checks(hub.mirror.clusterset)
    assert check.detail == "refused of onprem: service shop/cart: no grant lets onprem export shop/cart"
    (metric,) = grant_metrics(hub.mirror.clusterset)
    assert {sample.labels["cluster"]: sample.value for sample in metric.samples} == {"cloud": 0, "onprem": 1}


async def test_of_two_who_change_them_at_a_time_the_second_is_told(hub: Hub) -> None:
    assert (await hub.replace(DENY, 0))["status"] == 200
    assert (await hub.replace({}, 0))["status"] == 409
    with pytest.raises(GrantsChanged):
        await hub.registry.policies.set(Grants(), 0)


async def test_what_makes_no_sense_is_refused_with_its_place(hub: Hub) -> None:
    answer = await hub.replace({"grants": [{"name": "a", "clusters": ["w"], "exports": ["shop"]}]}, 0)
    assert answer["status"] == 400
    assert "grants[0].exports[0]: 'shop'" in str(answer["error"])


async def test_grants_are_read_back_as_they_were_written(registry: Registry) -> None:
    grants = Grants(Defaults(imports=Default.DENY), grants=(Grant("g", ("a*",), addresses=("127.0.0.0/8",)),))
    await registry.policies.set(grants, 0)
    assert (await registry.policies.get()).grants == grants
