import pytest

from federation.errors import Contention, Exit
from federation.registry.ledger import ATTEMPTS, Ledger, Plan, everything, slices
from federation.registry.store import Put, Store, absent


async def test_a_plan_is_made_again_until_nobody_interferes(store: Store) -> None:
    attempts = 0

    async def plan() -> Plan[str]:
        nonlocal attempts
        attempts += 1
        key = f"k{attempts}"
        if attempts < 3:
            await store.commit([Put(key, b"somebody else")])
        return Plan(key, [Put(key, b"mine")], [absent(key)])

    assert await Ledger(store).transact("test", plan) == "k3"


async def test_who_never_gets_a_turn_is_told(store: Store) -> None:
    await store.commit([Put("taken", b"")])
    attempts = 0

    async def plan() -> Plan[None]:
        nonlocal attempts
        attempts += 1
        return Plan(None, [Put("taken", b"mine")], [absent("taken")])

    with pytest.raises(Contention, match="join of cluster west") as told:
        await Ledger(store).transact("join of cluster west", plan)
    assert (attempts, told.value.exit_code) == (ATTEMPTS, Exit.CONFLICT)


async def test_a_plan_without_operations_writes_nothing(store: Store) -> None:
    async def plan() -> Plan[str]:
        return Plan("nothing to do", [], [absent("a")])

    assert await Ledger(store).transact("test", plan) == "nothing to do"
    assert (await store.range("")).revision == 0


async def test_everything_goes_over_all_pages(store: Store) -> None:
    keys = [f"k/{i:04}" for i in range(2500)]
    for some in slices(keys, 100):
        await store.commit([Put(key, b"") for key in some])
    assert [item.key async for item in everything(store, "k/")] == keys


def test_slices_lose_nothing() -> None:
    assert list(slices(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(slices([], 2)) == []
