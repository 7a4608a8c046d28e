"""Which way each request takes, whose it is on that way, and for how long a way is taken. Two real Envoys."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from clusters.names import ServiceName
from clusters.services import CallerPattern
from gateway import names
from gateway.kinds import CLUSTER, LISTENER
from tests.system import web
from tests.system.edits import Edit, replacing
from tests.system.mesh import as_translated, mesh, until
from tests.system.test_http import XFCC, told, with_web
from tests.system.test_identity import HASHABLE, NOT_HASHABLE, identity, source
from tests.system.test_refusals import with_gateways
from tests.system.web import LONG, Http1, get, http1, http2

pytestmark = pytest.mark.envoy

WEB = ServiceName("shop", "web")
Asked: TypeAlias = Callable[[], Awaitable[bool]]
AGE = '"max_connection_duration": "5s"'
SOON = replacing(CLUSTER, AGE, AGE.replace("5s", "0.5s"))


async def test_the_requests_of_one_connection_are_spread_over_all_servers(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_web(built, servers=3)
        async with http2(to, source(built, 1)) as connection:
            asked = [(await connection.ask()).server.partition(":")[0] for _ in range(60)]
        assert set(asked) == {built["cloud"].address(3, number) for number in (1, 2, 3)}
        assert max(map(asked.count, asked)) < 40


async def test_many_callers_at_once_are_never_taken_for_each_other(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_web(built, callers=8, servers=2)

        async def calls(number: int) -> None:
            async with http1(to, source(built, number)) as kept, http2(to, source(built, number)) as shared:
                for _ in range(10):
                    answers = await asyncio.gather(kept.ask(), get(to, source(built, number)))
                    for seen in (*(answer.seen for answer in answers), await shared.ask()):
                        assert seen.all(XFCC) == [told(built, number)]
                        assert await built["cloud"].caller_of(seen.peer) == identity(built, number)

        await asyncio.gather(*(calls(number) for number in range(1, 9)))
        assert await built["onprem"].stat(r"^cluster\.gw\|cloud\.upstream_cx_total$") == 8


async def test_without_a_hashable_identity_requests_would_ride_on_the_first_ones_connection(
    tmp_path: Path,
) -> None:
    """The trap that `envoy.hashable_string` is there for: the far side then sees somebody else."""
    async with mesh(tmp_path, edit=replacing(LISTENER, HASHABLE, NOT_HASHABLE)) as built:
        to = await with_web(built)
        await get(to, source(built, 1))
        seen = (await get(to, source(built, 2))).seen
        assert await built["cloud"].caller_of(seen.peer) == identity(built, 1)


async def test_a_request_whose_identity_gets_lost_is_sent_nowhere(tmp_path: Path) -> None:
    async with mesh(tmp_path, edit=replacing(LISTENER, "TRANSITIVE", "ONCE")) as built:
        to = await with_web(built)
        assert (await get(to, source(built, 1))).status == 503
        assert not built["cloud"].calls()


async def test_with_any_other_default_a_lost_identity_would_be_somebody_elses(tmp_path: Path) -> None:
    """The trap that the default `src/none` is there for: this is what happens without."""
    once = replacing(LISTENER, "TRANSITIVE", "ONCE")
    async with mesh(tmp_path, edit=once) as built:
        default = names.source_secret(source(built, 1))
        built["onprem"].edit = lambda kind, r: once(
            kind, replacing(CLUSTER, names.NO_SOURCE, default)(kind, r)
        )
        built["onprem"].publish_again()
        to = await with_web(built)
        seen = (await get(to, source(built, 2))).seen
        assert await built["cloud"].caller_of(seen.peer) == identity(built, 1)


async def test_a_dead_gateway_is_passed_over(tmp_path: Path) -> None:
    async with mesh(tmp_path) as built:
        to = await with_web(built, callers=10)
        (alive,) = built["cloud"].member.gateways
        dead = replace(alive, name="dead", addresses=(built["cloud"].address(1, 2),))
        with_gateways(built, dead, alive)
        await built["onprem"].settled()
        answers = [await get(to, source(built, number)) for number in range(1, 11)]
        assert [answer.status for answer in answers] == [200] * 10


@asynccontextmanager
async def home_again(folder: Path, edit: Edit) -> AsyncIterator[tuple[Asked, Asked]]:
    """A connection whose requests were answered in `cloud` while nobody was at home, and home is back now.

    Gives whether the next request is answered at home, and whether it is in `cloud`.
    """
    async with mesh(folder, edit=edit) as built:
        onprem, cloud = built["onprem"], built["cloud"]
        places = {c: (c.address(3, 1), await built.serve(c.address(3, 1), web.web)) for c in (onprem, cloud)}
        built.service("web", {c.name: [place] for c, place in places.items()}, speaks="http")
        built.caller("onprem", "w1", source(built, 1))
        services = onprem.view.offer.services
        onprem.change(services={**services, WEB: replace(services[WEB], endpoints=(onprem.address(3, 9),))})
        await onprem.settled()
        await cloud.settled()
        async with http1(built.vip("onprem", "web"), source(built, 1)) as connection:
            at_home, away = (answered_by(connection, places[cluster]) for cluster in (onprem, cloud))
            assert await away()
            onprem.change(services=services)
            await onprem.settled()
            yield at_home, away


async def read_with_a_pause(folder: Path, edit: Edit) -> int:
    """How much of a long body arrives at a caller that wants no other, and pauses for a while."""
    async with mesh(folder, edit=edit) as built:
        to = await with_web(built)
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.bind((source(built, 1), 0))
            caller.connect(to)
            caller.sendall(b"GET /long HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            caller.setblocking(False)
            await asyncio.sleep(3)
            arrived, loop = 0, asyncio.get_running_loop()
            with suppress(ConnectionError):
                while part := await asyncio.wait_for(loop.sock_recv(caller, 1 << 20), 10):
                    arrived += len(part)
        return arrived


async def test_a_caller_that_pauses_gets_all_of_its_last_response(tmp_path: Path) -> None:
    assert await read_with_a_pause(tmp_path, as_translated) > len(LONG)


async def test_with_a_delayed_close_the_end_of_a_response_would_be_lost_in_a_pause(tmp_path: Path) -> None:
    """The trap that `delayed_close_timeout` of zero is there for: this is what happens with Envoy's own."""
    edit = replacing(LISTENER, '"delayed_close_timeout": "0s"', '"delayed_close_timeout": "1s"')
    assert await read_with_a_pause(tmp_path, edit) < len(LONG)


def answered_by(connection: Http1, server: tuple[str, int]) -> Asked:
    async def asked() -> bool:
        return (await connection.ask()).seen.server == "{}:{}".format(*server)

    return asked


async def test_the_requests_of_an_open_connection_come_home_again(tmp_path: Path) -> None:
    async with home_again(tmp_path, SOON) as (at_home, _):
        await until(at_home, what="home to answer again")


async def test_without_a_bound_on_their_age_tunnels_would_lead_away_for_ever(tmp_path: Path) -> None:
    """The trap that `max_connection_duration` is there for: this is what happens without."""
    async with home_again(tmp_path, replacing(CLUSTER, AGE, AGE.replace("5s", "3600s"))) as (_, away):
        for _ in range(20):
            assert await away()
            await asyncio.sleep(0.1)


async def test_who_may_not_call_any_more_is_refused_at_once_and_soon_on_open_connections_too(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, edit=SOON) as built:
        to = await with_web(built)
        cloud = built["cloud"]
        async with http1(to, source(built, 1)) as mine, http1(to, source(built, 2)) as theirs:
            for connection in (mine, theirs):
                assert (await connection.ask()).status == 200
            only_theirs = (CallerPattern(identity(built, 2)),)
            service = replace(cloud.view.offer.services[WEB], allow=only_theirs)
            cloud.change(services={**cloud.view.offer.services, WEB: service})
            await cloud.settled()
            assert (await get(to, source(built, 1))).status == 503
            assert (await get(to, source(built, 2))).status == 200

            async def refused() -> bool:
                return (await mine.ask()).status == 503

            await until(refused, what="the open connection to be refused")
            assert (await theirs.ask()).status == 200


async def test_a_service_that_asks_for_passthrough_is_carried_unseen_and_no_connection_is_cut(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path) as built:
        to = await with_web(built)
        onprem = built["onprem"]
        before = onprem.view
        async with http1(to, source(built, 1)) as seen_into:
            assert (await seen_into.ask()).seen.all(XFCC) == [told(built, 1)]
            unseen = replace(before.imports[WEB], passthrough=True)
            onprem.publish(replace(before, imports={**before.imports, WEB: unseen}))
            await onprem.settled()
            async with http1(to, source(built, 1)) as connection:
                forged = f"GET / HTTP/1.1\r\nHost: web\r\n{XFCC}: anything\r\n\r\n"
                assert (await connection.ask(forged.encode())).seen.all(XFCC) == ["anything"]
                onprem.publish(before)
                await onprem.settled()
                await asyncio.sleep(1.5)  # longer than a changed listener takes to drain
                assert (await connection.ask(forged.encode())).seen.all(XFCC) == ["anything"]
            assert (await seen_into.ask()).seen.all(XFCC) == [told(built, 1)]
