"""A gateway's process asks whose connections to end, and is kept waiting until there is an answer."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from clusters.latest import Latest
from clusters.reports import Notice
from federation.api.http import ApiError, application
from federation.api.notices import add_notices, notice_of
from tests import builders
from tests.builders import CLOUD, ONPREM

FIRST, SECOND = Notice("1"), Notice("2", ("10.0.0.11",), ("spiffe://west.fed.example/ns/shop/sa/web",))


def face(notices: Latest[Notice]) -> "TestClient[web.Request, web.Application]":
    app = application()
    add_notices(app, "/notices", notices)
    return TestClient(TestServer(app))


async def asked(client: "TestClient[web.Request, web.Application]", seen: str) -> Notice:
    answer = await (await client.post("/notices", json={"seen": seen})).json()
    return Notice(answer["version"], tuple(answer["barred"]), tuple(answer["revoked"]))


async def test_who_has_not_seen_the_newest_is_answered_at_once() -> None:
    async with face(Latest(FIRST)) as client:
        assert await asked(client, "") == FIRST


async def test_who_has_is_answered_when_there_is_a_newer_one() -> None:
    notices = Latest(FIRST)
    async with face(notices) as client, asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(asked(client, FIRST.version))
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done
        notices.set(SECOND)
        assert await answer == SECOND


async def test_who_waits_does_not_hold_up_the_end() -> None:
    client = face(Latest(FIRST))
    await client.start_server()
    waiting = asyncio.create_task(asked(client, FIRST.version))
    await asyncio.wait([waiting], timeout=0.2)
    async with asyncio.timeout(5):
        await client.server.close()
    waiting.cancel()
    await asyncio.wait([waiting])
    await client.close()


async def test_who_may_not_ask_is_not_kept_waiting() -> None:
    def nobody(_: web.Request) -> None:
        raise ApiError(403, "not-a-gateway", "no")

    app = application()
    add_notices(app, "/notices", Latest(FIRST), nobody)
    async with TestClient(TestServer(app)) as client:
        assert (await client.post("/notices", json={"seen": FIRST.version})).status == 403


HERE, THERE = builders.member(ONPREM, "192.0.2.10"), builders.member(CLOUD, "192.0.2.20")
CHANGES = {
    "a cluster goes": (HERE,),
    "its issuing CAs go": (HERE, replace(THERE, anchors=())),
    "a workload of it is revoked": (HERE, replace(THERE, revoked=("shop/web",))),
    "it has other gateways": (HERE, builders.member(CLOUD, "192.0.2.21")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_there_is_a_new_notice_when(what: str) -> None:
    before = notice_of(builders.view(members=(HERE, THERE)))
    assert notice_of(builders.view(members=CHANGES[what])) != before
    assert notice_of(builders.view(builders.imported("cart", CLOUD), members=(THERE, HERE))) == before
