"""A doubted withdrawal is known to all hubs until it is over, and can be accepted once."""

from datetime import timedelta

import pytest

from clusters.withheld import Withheld
from federation.errors import UnknownCluster
from federation.registry.records import AliveRecord
from federation.registry.registry import Registry
from federation.registry.store import Store
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import NOW, joined, mirrored

DOUBTED = Withheld(ONPREM, NOW, NOW + timedelta(hours=1), 7, ("shop/cart",))


async def test_a_doubted_withdrawal_is_known_and_its_acceptance_is_told_to_its_member(
    registry: Registry, store: Store
) -> None:
    await joined(registry, ONPREM)
    await registry.withdrawals.doubt(ONPREM, DOUBTED)
    assert await registry.withdrawals.accept(ONPREM) == DOUBTED
    clusterset = await mirrored(store)
    member = clusterset.member(ONPREM)
    assert clusterset.withheld(ONPREM) == DOUBTED
    assert member
    assert member.accepted == NOW


async def test_when_it_is_over_nothing_of_it_is_left(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    before = {item.key for item in (await store.range("")).items}
    await registry.withdrawals.doubt(ONPREM, DOUBTED)
    await registry.withdrawals.accept(ONPREM)
    await registry.withdrawals.doubt(ONPREM, None)
    assert {item.key for item in (await store.range("")).items} == before
    assert await registry.withdrawals.accept(ONPREM) is None


async def test_a_cluster_that_leaves_leaves_no_doubt(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.withdrawals.doubt(ONPREM, DOUBTED)
    await registry.withdrawals.accept(ONPREM)
    await registry.members.miss(ONPREM, NOW)
    await registry.members.leave(ONPREM, NOW)
    left = [item.key for item in (await store.range("")).items]
    assert not [key for key in left if key.endswith(f"/{ONPREM}")]


async def test_of_who_is_no_member_nothing_is_doubted_or_accepted(registry: Registry) -> None:
    with pytest.raises(UnknownCluster):
        await registry.withdrawals.doubt(CLOUD, DOUBTED)
    with pytest.raises(UnknownCluster):
        await registry.withdrawals.accept(CLOUD)


async def test_who_is_missed_is_away_until_it_connects(registry: Registry, store: Store) -> None:
    await joined(registry, ONPREM)
    await registry.members.miss(ONPREM, NOW)
    await registry.members.miss(ONPREM, NOW + timedelta(hours=1))
    assert (await mirrored(store)).away(ONPREM) == NOW
    await registry.members.connect(ONPREM, 60, AliveRecord(NOW))
    assert (await mirrored(store)).away(ONPREM) is None
    await registry.members.miss(ONPREM, NOW)
    assert (await mirrored(store)).away(ONPREM) is None
