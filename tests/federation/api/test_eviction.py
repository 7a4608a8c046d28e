"""Who has let go of a cluster that was shut out, by what is said of probes."""

import asyncio
from datetime import UTC, datetime

from clusters.model import ClusterName
from clusters.reports import Probe, Probes
from federation.api.eviction import Holder, Watched
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


async def test_who_says_so_in_time_has_let_go_and_who_does_not_is_named() -> None:
    said = probing()
    holders = frozenset({(ONPREM, "gw-1"), (ONPREM, "gw-2"), (EDGE, "gw-1")})
    waiting = asyncio.create_task(Watched(CLOUD, holders, ()).let_go(said, 0.5))
    said.hear(ONPREM, {"gw-1": probes("gw-1", EDGE), "gw-2": None})
    assert await waiting == [
        Holder(EDGE, "gw-1", "it has not said so yet"),
        Holder(ONPREM, "gw-1"),
        Holder(ONPREM, "gw-2"),
    ]


async def test_it_takes_no_longer_than_it_has_to() -> None:
    said = probing()
    watched = Watched(CLOUD, frozenset({(ONPREM, "gw-1"), (ONPREM, "gw-2")}), ())
    waiting = asyncio.create_task(watched.let_go(said, 600))
    await asyncio.sleep(0)
    said.hear(ONPREM, {"gw-1": None, "gw-2": None})
    async with asyncio.timeout(10):
        assert all(not holder.reason for holder in await waiting)


async def test_nobody_waits_for_a_cluster_that_is_away() -> None:
    watched = Watched(CLOUD, frozenset({(EDGE, "gw-1")}), (EDGE,))
    async with asyncio.timeout(10):
        (holder,) = await watched.let_go(probing(), 600)
    assert holder == Holder(EDGE, "gw-1", "its agent is not connected to the hub")
