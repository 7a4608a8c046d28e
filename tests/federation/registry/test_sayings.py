"""What clusters say, as any hub comes to know it."""

import asyncio
from datetime import timedelta

from clusters.reports import Anchors, Probe, Probes
from clusters.trust import Trust
from federation.hearsay import Hearsay
from federation.registry.mirror import Mirror
from federation.registry.records import AliveRecord, StatusRecord
from federation.registry.registry import Registry
from federation.registry.store import Store
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import NOW, joined

PROBES = Probes("gw-1", (Probe(CLOUD, "192.0.2.20:15008", up=True, since=NOW),))
LATER = NOW + timedelta(minutes=5)


async def heard(store: Store) -> Hearsay:
    """What a hub knows that has just come."""
    mirror = Mirror(store)
    hearsay = Hearsay(mirror.clusterset)
    mirror.beside.append(hearsay.apply)
    await anext(mirror.changes())
    return hearsay


async def test_a_hub_that_comes_later_knows_what_was_said_and_whether_it_is_said_now(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    anchors, trust = Anchors("", {"cloud": ("A",)}), Trust("hash")
    await registry.sayings.say(ONPREM, Probes, {"gw-1": PROBES}, 5)
    await registry.sayings.say(ONPREM, Anchors, {"/agent": anchors}, 5)
    await registry.sayings.say(ONPREM, Trust, {"roots": trust}, 1)
    await registry.members.seen(ONPREM, StatusRecord(LATER))
    hub = await heard(store)
    assert [seen.said for seen in hub.probing.of(CLOUD)] == [LATER]
    assert (hub.trusting.of(ONPREM), hub.trusting.hears(ONPREM)) == (trust, False)
    assert hub.anchoring.said_by(ONPREM) == (anchors,)
    await registry.members.connect(ONPREM, 60, AliveRecord(NOW))
    hub = await heard(store)
    assert [seen.said for seen in hub.probing.of(CLOUD)] == [None]
    assert hub.trusting.hears(ONPREM)


async def test_a_hub_hears_that_a_cluster_is_there_and_that_its_lease_is_gone(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.sayings.say(ONPREM, Trust, {"roots": Trust("hash")}, 1)
    mirror = Mirror(store)
    hearsay, changes = Hearsay(mirror.clusterset), mirror.changes()
    mirror.beside.append(hearsay.apply)
    await anext(changes)
    lease = await registry.members.connect(ONPREM, 60, AliveRecord(NOW))
    async with asyncio.timeout(10):
        while not hearsay.trusting.hears(ONPREM):
            await anext(changes)
        await store.revoke(lease)
        while hearsay.trusting.hears(ONPREM):
            await anext(changes)
    assert hearsay.trusting.of(ONPREM) == Trust("hash")


async def test_what_is_said_of_a_gateway_with_any_name_is_heard_under_it(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    await registry.sayings.say(ONPREM, Probes, {"a/b %": PROBES}, 5)
    hub = await heard(store)
    assert [seen.gateway for seen in hub.probing.of(CLOUD)] == ["a/b %"]


async def test_of_a_cluster_that_has_left_or_was_shut_out_nothing_is_known(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM, CLOUD)
    for cluster in (ONPREM, CLOUD):
        await registry.sayings.say(cluster, Trust, {"roots": Trust("hash")}, 1)
    await registry.members.evict(ONPREM, NOW)
    await registry.members.leave(CLOUD, NOW)
    hub = await heard(store)
    assert (hub.trusting.of(ONPREM), hub.trusting.of(CLOUD)) == (None, None)
    assert await registry.sayings.of(CLOUD, Trust) == []


async def test_what_is_said_again_is_written_once_and_what_is_taken_back_is_gone(registry: Registry) -> None:
    await joined(registry, ONPREM)
    await registry.sayings.say(ONPREM, Probes, {"gw-1": PROBES, "gw-2": PROBES}, 5)
    before = (await registry.store.range("")).revision
    await registry.sayings.say(ONPREM, Probes, {"gw-1": PROBES}, 5)
    assert (await registry.store.range("")).revision == before
    await registry.sayings.say(ONPREM, Probes, {"gw-1": None}, 5)
    assert await registry.sayings.of(ONPREM, Probes) == [PROBES]
