"""The conformance suite: what every `Store` promises, whatever it is made of."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from federation.errors import Compacted, InvalidRequest, LeaseNotFound, StoreClosed
from federation.registry.ledger import slices
from federation.registry.store import (
    MAX_BYTES,
    MAX_OPERATIONS,
    Batch,
    Compare,
    Delete,
    Event,
    KeyValue,
    Operation,
    Put,
    Store,
    absent,
    unchanged,
)
from tests.federation.registry.conftest import Bench


async def put(store: Store, key: str, value: bytes = b"v") -> int:
    """Put one key; the revision it made."""
    return (await store.commit([Put(key, value)])).revision


async def present(store: Store, key: str) -> KeyValue:
    found = await store.get(key)
    assert found is not None
    return found


async def take(watch: AsyncIterator[Batch], count: int) -> list[Batch]:
    """The next *count* batches."""
    async with asyncio.timeout(10):
        return [await anext(watch) for _ in range(count)]


async def watched(store: Store, prefix: str, after_revision: int) -> list[Batch]:
    """All that a watch tells up to now: a mark is written, and what comes before it is the answer."""
    end = await put(store, f"{prefix}~end")
    batches: list[Batch] = []
    async with asyncio.timeout(10):
        async for batch in store.watch(prefix, after_revision):
            if batch.revision == end:
                return batches
            batches.append(batch)
    raise AssertionError("a watch never ends")


# --- reading and writing


async def test_a_new_store_is_empty_and_at_revision_0(store: Store) -> None:
    assert await store.get("a") is None
    page = await store.range("")
    assert (page.items, page.revision, page.more) == ((), 0, False)


async def test_what_is_put_is_there_with_its_revisions(store: Store) -> None:
    assert await put(store, "a", b"1") == 1
    assert await put(store, "b", b"") == 2
    assert await put(store, "a", b"3") == 3
    assert await store.get("a") == KeyValue("a", b"3", create_revision=1, mod_revision=3)
    assert await store.get("b") == KeyValue("b", b"", create_revision=2, mod_revision=2)


async def test_a_key_that_is_put_again_after_its_deletion_is_a_new_one(store: Store) -> None:
    await put(store, "a")
    await store.commit([Delete("a")])
    await put(store, "a")
    assert (await present(store, "a")).create_revision == 3


async def test_deleting_what_is_absent_is_no_event(store: Store) -> None:
    await put(store, "a")
    assert (await store.commit([Delete("nothing")])).succeeded
    assert await watched(store, "", 1) == []


async def test_many_keys_are_read_at_once_and_absent_ones_left_out(store: Store) -> None:
    await put(store, "a", b"1")
    await put(store, "b", b"2")
    found = await store.get_many(["b", "nothing", "a"])
    assert {key: item.value for key, item in found.items()} == {"a": b"1", "b": b"2"}
    assert await store.get_many([]) == {}


async def test_a_range_has_the_prefix_in_order_and_nothing_else(store: Store) -> None:
    for key in ("x/b", "x/a/1", "x", "x0", "x/", "w/a", "y/a", "x/~", "x/A"):
        await put(store, key)
    page = await store.range("x/")
    assert [item.key for item in page.items] == ["x/", "x/A", "x/a/1", "x/b", "x/~"]
    assert page.revision == 9


async def test_pages_of_a_range_follow_each_other(store: Store) -> None:
    keys = [f"k/{i:02}" for i in range(7)]
    for key in keys:
        await put(store, key)
    first = await store.range("k/", limit=3)
    second = await store.range("k/", limit=3, after_key="k/02")
    third = await store.range("k/", limit=3, after_key="k/05")
    assert [item.key for page in (first, second, third) for item in page.items] == keys
    assert [page.more for page in (first, second, third)] == [True, True, False]


async def test_a_page_that_ends_exactly_at_the_end_has_no_more(store: Store) -> None:
    await put(store, "k/1")
    await put(store, "k/2")
    assert not (await store.range("k/", limit=2)).more


# --- transactions


async def test_a_transaction_is_one_revision(store: Store) -> None:
    await put(store, "a")
    assert (await store.commit([Put("b", b""), Put("c", b""), Delete("a")])).revision == 2
    assert [item.mod_revision for item in (await store.range("")).items] == [2, 2]


async def test_a_transaction_goes_through_only_if_all_of_its_comparisons_hold(store: Store) -> None:
    await put(store, "a", b"1")
    refused = await store.commit([Put("b", b""), Delete("a")], [Compare("a", value=b"1"), absent("a")])
    assert (refused.succeeded, refused.revision) == (False, 1)
    assert (await present(store, "a")).value == b"1"
    assert await store.get("b") is None


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (absent("nothing"), True),
        (absent("a"), False),
        (Compare("a", mod_revision=3), True),
        (Compare("a", mod_revision=1), False),
        (Compare("a", create_revision=1), True),
        (Compare("a", create_revision=3), False),
        (Compare("a", value=b"new"), True),
        (Compare("a", value=b"old"), False),
        (Compare("nothing", create_revision=0), True),
        (Compare("nothing", value=b""), False),
        (Compare("a", mod_revision=3, create_revision=1, value=b"new"), True),
        (Compare("a", mod_revision=3, create_revision=1, value=b"old"), False),
    ],
)
async def test_a_comparison_is_with_the_key_as_it_is_now(store: Store, compare: Compare, holds: bool) -> None:
    await put(store, "a", b"old")
    await put(store, "b")
    await put(store, "a", b"new")
    assert (await store.commit([Put("c", b"")], [compare])).succeeded is holds


async def test_unchanged_holds_until_somebody_touches_the_key(store: Store) -> None:
    await put(store, "a")
    seen = await store.get("a")
    assert (await store.commit([Put("b", b"")], [unchanged("a", seen), unchanged("c", None)])).succeeded
    await put(store, "a")
    assert not (await store.commit([Put("b", b"")], [unchanged("a", seen)])).succeeded


async def test_of_many_who_compare_and_swap_at_once_one_wins(store: Store) -> None:
    commits = await asyncio.gather(
        *(store.commit([Put("lock", str(i).encode())], [absent("lock")]) for i in range(20))
    )
    winners = [i for i, commit in enumerate(commits) if commit.succeeded]
    assert (await present(store, "lock")).value == str(winners[0]).encode()
    assert len(winners) == 1


async def test_a_transaction_without_operations_tells_whether_its_comparisons_hold(store: Store) -> None:
    await put(store, "a")
    assert (await store.commit([], [absent("b")])).succeeded
    assert not (await store.commit([], [absent("a")])).succeeded
    # An etcd that answers late is asked again, and its mark of that takes a revision; no key of ours has one.
    assert [item.mod_revision for item in (await store.range("")).items] == [1]


@pytest.mark.parametrize(
    ("operations", "when"),
    [
        ([Put(f"k{i}", b"") for i in range(MAX_OPERATIONS + 1)], []),
        ([], [absent(f"k{i}") for i in range(MAX_OPERATIONS + 1)]),
        ([Put("a", b""), Put("a", b"")], []),
        ([Put("a", b""), Delete("a")], []),
        ([Put("", b"")], []),
        ([Delete("é")], []),
        ([Put("a\x00b", b"")], []),
        ([Put("a", b"x" * MAX_BYTES)], []),
    ],
    ids=["operations", "comparisons", "twice", "put-and-delete", "empty", "not-ascii", "nul", "too-big"],
)
async def test_a_transaction_that_no_store_may_accept_is_refused(
    store: Store, operations: list[Operation], when: list[Compare]
) -> None:
    with pytest.raises(InvalidRequest):
        await store.commit(operations, when)
    assert (await store.range("")).revision == 0


async def test_the_largest_transaction_goes_through(store: Store) -> None:
    keys = [f"k{i:03}" for i in range(MAX_OPERATIONS)]
    commit = await store.commit([Put(key, b"") for key in keys], [absent(key) for key in keys])
    assert (commit.succeeded, commit.revision) == (True, 1)
    assert len(await store.get_many(keys)) == MAX_OPERATIONS


# --- watching


async def test_a_watch_tells_what_happened_after_its_revision_and_then_what_happens(store: Store) -> None:
    await put(store, "a", b"1")
    await put(store, "a", b"2")
    watch = store.watch("", 1)
    assert await take(watch, 1) == [Batch(2, (Event("a", KeyValue("a", b"2", 1, 2)),))]
    following = asyncio.create_task(take(watch, 2))
    await put(store, "b", b"3")
    await store.commit([Delete("a")])
    assert await following == [
        Batch(3, (Event("b", KeyValue("b", b"3", 3, 3)),)),
        Batch(4, (Event("a", None),)),
    ]


async def test_events_of_one_revision_come_together_and_in_order(store: Store) -> None:
    await put(store, "b")
    await store.commit([Put("c", b""), Delete("b"), Put("a", b"")])
    (batch,) = await watched(store, "", 1)
    assert [event.key for event in batch.events] == ["c", "b", "a"]


async def test_a_watch_is_told_of_its_prefix_only(store: Store) -> None:
    await put(store, "x/1")
    await store.commit([Put("y/1", b""), Put("x/2", b""), Put("x", b"")])
    await put(store, "x0")
    batches = await watched(store, "x/", 0)
    assert [(b.revision, [e.key for e in b.events]) for b in batches] == [(1, ["x/1"]), (2, ["x/2"])]


async def test_a_watch_from_a_revision_that_is_to_come_waits_for_it(store: Store) -> None:
    watch = store.watch("", 2)
    following = asyncio.create_task(take(watch, 1))
    for key in ("a", "b", "c"):
        await put(store, key)
    assert [batch.revision for batch in await following] == [3]


async def test_every_watcher_is_told_of_everything(store: Store) -> None:
    following = [asyncio.create_task(take(store.watch("", 0), 50)) for _ in range(5)]
    for i in range(50):
        await put(store, f"k{i}")
    for batches in await asyncio.gather(*following):
        assert [batch.revision for batch in batches] == list(range(1, 51))


async def test_a_watch_that_is_far_behind_misses_nothing_and_splits_no_revision(store: Store) -> None:
    keys = [f"k{i:04}" for i in range(2970)]
    for some in slices(keys, 90):
        await store.commit([Put(key, b"") for key in some])
    batches = await watched(store, "", 0)
    assert [[event.key for event in batch.events] for batch in batches] == list(slices(keys, 90))


@pytest.mark.parametrize("seed", range(3))
async def test_replaying_a_watch_gives_what_a_range_gives(store: Store, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for _ in range(60):
        keys = chance.sample("abcdefgh", chance.randint(1, 4))
        await store.commit(
            [Delete(key) if chance.random() < 0.4 else Put(key, chance.randbytes(2)) for key in keys]
        )
    replayed: dict[str, KeyValue] = {}
    for batch in await watched(store, "", 0):
        for event in batch.events:
            if event.now is None:
                del replayed[event.key]
            else:
                replayed[event.key] = event.now
    listed = {item.key: item for item in (await store.range("")).items if item.key != "~end"}
    assert replayed == listed


# --- compaction


async def test_a_watch_of_compacted_history_says_so_and_a_later_one_goes_on(store: Store) -> None:
    for i in range(5):
        await put(store, f"k{i}")
    await store.compact(4)
    with pytest.raises(Compacted) as refused:
        await take(store.watch("", 2), 1)
    assert refused.value.after_revision == 2 < refused.value.compacted <= 4
    assert [batch.revision for batch in await watched(store, "", 4)] == [5]


async def test_compaction_keeps_every_key(store: Store) -> None:
    for i in range(5):
        await put(store, f"k{i}")
    await store.compact(5)
    assert len((await store.range("")).items) == 5


async def test_a_watch_that_is_up_to_date_does_not_notice_compaction(store: Store) -> None:
    await put(store, "a")
    watch = store.watch("", 0)
    await take(watch, 1)
    following = asyncio.create_task(take(watch, 1))
    await store.compact(1)
    await put(store, "b")
    assert [batch.revision for batch in await following] == [2]


async def test_a_quiet_watch_is_not_hurt_by_compaction_of_what_others_did(store: Store) -> None:
    await put(store, "quiet/0")
    watch = store.watch("quiet/", 0)
    await take(watch, 1)
    following = asyncio.create_task(take(watch, 1))
    for i in range(20):
        await put(store, f"busy/{i}")
    await store.compact(10)
    revision = await put(store, "quiet/1")
    assert [batch.revision for batch in await following] == [revision]


async def test_compacting_again_does_nothing_and_the_future_is_refused(store: Store) -> None:
    await put(store, "a")
    await put(store, "b")
    await store.compact(2)
    await store.compact(1)
    await store.compact(2)
    with pytest.raises(InvalidRequest):
        await store.compact(3)


# --- leases


async def test_a_key_goes_with_its_lease_and_the_watch_is_told(bench: Bench) -> None:
    lease = await bench.store.grant(5)
    await bench.store.commit([Put("a", b"", lease), Put("b", b"", lease), Put("c", b"")])
    assert (await present(bench.store, "a")).lease == lease
    await bench.let_pass(2)
    assert await bench.store.get("a") is not None
    await bench.let_pass(5)
    assert [item.key for item in (await bench.store.range("")).items] == ["c"]
    (batch,) = await watched(bench.store, "", 1)
    assert sorted(event.key for event in batch.events) == ["a", "b"]
    assert all(event.now is None for event in batch.events)


async def test_a_lease_that_is_kept_alive_stays(bench: Bench) -> None:
    lease = await bench.store.grant(4)
    await bench.store.commit([Put("a", b"", lease)])
    for _ in range(3):
        await bench.let_pass(2)
        await bench.store.keep_alive(lease)
    assert await bench.store.get("a") is not None


async def test_a_lease_that_ran_out_cannot_be_kept_alive_or_used(bench: Bench) -> None:
    lease = await bench.store.grant(2)
    await bench.let_pass(3)
    with pytest.raises(LeaseNotFound):
        await bench.store.keep_alive(lease)
    with pytest.raises(LeaseNotFound):
        await bench.store.commit([Put("b", b""), Put("a", b"", lease)])
    assert (await bench.store.range("")).items == ()


async def test_revoking_a_lease_takes_its_keys_and_doing_so_again_is_no_error(store: Store) -> None:
    lease, other = await store.grant(60), await store.grant(60)
    await store.commit([Put("a", b"", lease), Put("b", b"", other)])
    await store.revoke(lease)
    await store.revoke(lease)
    assert [item.key for item in (await store.range("")).items] == ["b"]
    assert lease != other


async def test_a_key_hangs_on_the_lease_of_its_last_put_only(store: Store) -> None:
    old, new = await store.grant(60), await store.grant(60)
    await store.commit([Put("moved", b"", old), Put("freed", b"", old)])
    await store.commit([Put("moved", b"", new), Put("freed", b"")])
    await store.revoke(old)
    assert [item.key for item in (await store.range("")).items] == ["freed", "moved"]


# --- closing


async def test_a_closed_store_says_so_also_to_those_who_wait(store: Store) -> None:
    following = asyncio.create_task(take(store.watch("", 0), 1))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreClosed):
        await following
    with pytest.raises(StoreClosed):
        await store.get("a")
    with pytest.raises(StoreClosed):
        await store.commit([Put("a", b"")])
    await store.close()
