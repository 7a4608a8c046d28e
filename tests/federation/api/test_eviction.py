"""Who has let go of a cluster that was shut out, by what is said of probes and of issuing CAs."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from clusters.names import ClusterName
from clusters.reports import Anchors, Probe, Probes
from federation.anchoring import Anchoring
from federation.api.eviction import Holder, Holders, Watched, holders
from federation.probing import Probing
from tests.builders import CLOUD, ONPREM

EDGE = ClusterName("edge")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def probes(gateway: str, *of: ClusterName) -> Probes:
    return Probes(gateway, tuple(Probe(cluster, "192.0.2.1:15008", up=True, since=NOW) for cluster in of))


def probing() -> Probing:
    said = Probing()
    said.hear(ONPREM, {"gw-1": probes("gw-1", CLOUD, EDGE), "gw-2": probes("gw-2", CLOUD)})
    said.hear(EDGE, {"gw-1": probes("gw-1", CLOUD, ONPREM)})
    said.hear(CLOUD, {"gw-1": probes("gw-1", ONPREM)})
    return said


def holding(said: Probing, anchoring: Anchoring | None = None) -> Callable[[], Holders]:
    return partial(holders, said, anchoring or Anchoring(), CLOUD)


async def test_who_says_so_in_time_has_let_go_and_who_does_not_is_named() -> None:
    said = probing()
    had = frozenset({(ONPREM, "gw-1"), (ONPREM, "gw-2"), (EDGE, "gw-1")})
    waiting = asyncio.create_task(Watched(CLOUD, had, ()).let_go(holding(said), 0.5))
    said.hear(ONPREM, {"gw-1": probes("gw-1", EDGE), "gw-2": None})
    assert await waiting == [
        Holder(EDGE, "gw-1", "it has not said so yet"),
        Holder(ONPREM, "gw-1"),
        Holder(ONPREM, "gw-2"),
    ]


async def test_it_takes_no_longer_than_it_has_to() -> None:
    said = probing()
    watched = Watched(CLOUD, frozenset({(ONPREM, "gw-1"), (ONPREM, "gw-2")}), ())
    waiting = asyncio.create_task(watched.let_go(holding(said), 600))
    await asyncio.sleep(0)
    said.hear(ONPREM, {"gw-1": None, "gw-2": None})
    async with asyncio.timeout(10):
        assert all(not holder.reason for holder in await waiting)


async def test_a_gateway_that_calls_nobody_counts_by_the_issuing_cas_that_it_has() -> None:
    anchoring = Anchoring()
    has = {"/agent": Anchors("", {CLOUD: ("ab",)}), "in/ingress": Anchors("in/ingress", {CLOUD: ("ab",)})}
    anchoring.hear(ONPREM, {**has, "other": Anchors("other", {ONPREM: ("cd",)})})
    anchoring.hear(CLOUD, {"gw": Anchors("gw", {CLOUD: ("ab",)})})
    still = holding(Probing(), anchoring)
    assert still() == {(ONPREM, "in")}
    waiting = asyncio.create_task(Watched(CLOUD, still(), ()).let_go(still, 600))
    await asyncio.sleep(0)
    anchoring.hear(ONPREM, {"in/ingress": Anchors("in/ingress", {})})
    async with asyncio.timeout(10):
        assert await waiting == [Holder(ONPREM, "in")]


async def test_nobody_waits_for_a_cluster_that_is_away() -> None:
    watched = Watched(CLOUD, frozenset({(EDGE, "gw-1")}), (EDGE,))
    async with asyncio.timeout(10):
        (holder,) = await watched.let_go(holding(probing()), 600)
    assert holder == Holder(EDGE, "gw-1", "its agent is not connected to the hub")
