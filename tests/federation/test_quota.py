"""What one cluster may take of the hub, and what happens beyond it."""

import pytest

from clusters.revoked import MAX_REVOKED, Revoked
from federation.errors import ChangesRejected
from federation.quota import MOST_AT_ONCE, Account, Rate, weight
from federation.registry.grants import Limits
from federation.sync import records

LIMITS = Limits(services=3, bytes=100, changes_per_second=10)
ROOM = 1000


def body(size: int = 10) -> bytes:
    return b"x" * size


def test_all_is_taken_up_to_the_limit_and_what_is_beyond_is_named() -> None:
    account = Account({"a/1": 10}, ROOM)
    changes = {f"a/{n}": body() for n in range(1, 6)}
    refused = account.refused(records.EXPORT, changes, LIMITS)
    assert refused.keys() == {"a/4", "a/5"}
    assert "has 3 services" in refused["a/4"]


def test_what_goes_makes_room_in_the_same_message() -> None:
    account = Account({"a/1": 10, "a/2": 10, "a/3": 10}, ROOM)
    assert account.refused(records.EXPORT, {"a/4": body(), "a/1": None}, LIMITS) == {}
    account.took(records.EXPORT, {"a/4": body(), "a/1": None})
    assert account.refused(records.EXPORT, {"a/5": body(), "a/9": None}, LIMITS).keys() == {"a/5"}


def test_what_is_there_may_change_and_not_grow_beyond_the_bytes() -> None:
    account = Account({"a/1": 40, "a/2": 40}, ROOM)
    refused = account.refused(records.EXPORT, {"a/1": body(41), "a/2": body(70)}, LIMITS)
    assert refused == {"a/2": "the exports of this cluster take more than 100 bytes"}
    account.took(records.EXPORT, {"a/1": body(5)})
    assert account.refused(records.EXPORT, {"a/2": body(70)}, LIMITS) == {}


def test_what_goes_gives_its_bytes_back_in_the_same_message() -> None:
    account = Account({"a/1": 60}, ROOM)
    assert account.refused(records.EXPORT, {"a/2": body(80), "a/1": None}, LIMITS) == {}


def test_the_bytes_are_those_of_all_that_is_new_in_a_message_and_of_all_that_was_taken() -> None:
    account, taken = Account({}, ROOM), {"a/1": body(60)}
    assert account.refused(records.EXPORT, {**taken, "a/2": body(60)}, LIMITS).keys() == {"a/2"}
    account.took(records.EXPORT, taken)
    assert account.refused(records.EXPORT, {"a/2": body(60)}, LIMITS).keys() == {"a/2"}
    assert account.refused(records.EXPORT, {"a/1": body(90)}, LIMITS) == {}


def test_who_has_more_than_a_limit_that_came_later_may_still_change_it_and_make_it_smaller() -> None:
    account = Account({f"a/{n}": 40 for n in range(4)}, ROOM)
    assert account.refused(records.EXPORT, {"a/1": body(40), "a/2": body(39)}, LIMITS) == {}


def test_what_is_refused_for_its_size_takes_no_room() -> None:
    changes = {"a/0": body((40 << 10) + 1), "a/1": body(), "a/2": body(), "a/3": body()}
    limits = Limits(services=3, bytes=1 << 20)
    assert Account({}, ROOM).refused(records.EXPORT, changes, limits).keys() == {"a/0"}


def test_where_there_is_one_address_one_service_may_have_it() -> None:
    assert Account({}, 1).refused(records.EXPORT, {"a/1": body(1)}, Limits()) == {}


def test_no_cluster_can_have_all_the_addresses_that_there_are() -> None:
    account = Account({}, 8)
    refused = account.refused(records.EXPORT, {f"a/{n}": body(1) for n in range(8)}, Limits())
    assert len(refused) == 2


MOST = {
    records.EXPORT: 40 << 10,
    records.GATEWAY: 40 << 10,
    records.JWT_KEYS: 40 << 10,
    records.TRUST: 40 << 10,
    records.LEAVE: 40 << 10,
    records.REVOKED: 136 << 10,
    records.WITHHELD: 8 << 10,
    records.ANCHORS: 256 << 10,
    records.PROBES: 512 << 10,
}


@pytest.mark.parametrize(("kind", "most"), [(kind, MOST[kind]) for kind in records.FROM_AGENTS])
def test_a_record_that_is_too_large_is_refused_and_its_neighbour_is_not(kind: str, most: int) -> None:
    refused = Account({}, ROOM).refused(kind, {"a/1": body(most + 1), "a/2": body(most)}, Limits())
    assert refused == {"a/1": f"has {most + 1} bytes: want {most} at most"}


def test_a_message_of_far_too_many_records_is_rejected() -> None:
    with pytest.raises(ChangesRejected, match="in one message"):
        Account({}, ROOM).refused(records.EXPORT, {str(n): None for n in range(MOST_AT_ONCE + 1)}, LIMITS)


def test_as_many_changes_as_services_are_taken_at_once_and_then_so_many_a_second() -> None:
    rate, limits = Rate(), Limits(services=2_000, changes_per_second=10)
    assert rate.delay(2_000, limits, 0) == 0
    assert rate.delay(1, limits, 0) == pytest.approx(0.1)
    assert rate.delay(5, limits, 0.1) == pytest.approx(0.5)
    assert rate.delay(2_000, limits, 600) == 0
    assert rate.delay(2_001, limits, 60_000) == pytest.approx(0.1)  # nothing more is saved up


def test_a_large_record_counts_as_many_changes_as_it_has_kib() -> None:
    assert weight({"a/1": body(40), "a/2": None, "a/3": body(136 << 10)}) == 1 + 1 + 136


def test_as_many_workloads_as_may_be_revoked_fit_into_their_record() -> None:
    most = records.encode(Revoked("on", tuple(f"{'n' * 63}/{n:063}" for n in range(MAX_REVOKED))))
    assert Account({}, ROOM).refused(records.REVOKED, {"on": most.body}, LIMITS) == {}


def test_who_may_have_few_services_may_still_change_a_thousand_times_at_once() -> None:
    assert Rate().delay(1_000, LIMITS, 0) == 0
    assert Rate().delay(1_001, LIMITS, 0) > 0
