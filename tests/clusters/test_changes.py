"""Finding what changed in a mapping: the same as by comparing all of it, whatever the order."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from clusters.changes import renewed, touched

# Values that are equal are not always the same object: a list is equal to its copy.
states = st.dictionaries(st.integers(0, 20), st.lists(st.integers(0, 2), min_size=1, max_size=1), max_size=12)


def changed(before: dict[int, list[int]], after: dict[int, list[int]]) -> set[int]:
    return {key for key in before.keys() | after.keys() if before.get(key) is not after.get(key)}


@given(states, states)
def test_everything_that_differs_is_found_and_nothing_else(
    before: dict[int, list[int]], after: dict[int, list[int]]
) -> None:
    assert touched(before, after) == changed(before, after)


def test_what_is_none_is_something_else_than_what_is_not_there() -> None:
    assert touched({}, {1: None}) == touched({1: None}, {}) == {1}


@given(states, states, st.randoms())
def test_what_is_kept_in_any_order_is_not_touched(
    before: dict[int, list[int]], more: dict[int, list[int]], order: Random
) -> None:
    kept = list((before | more).items())
    order.shuffle(kept)
    after = {key: before[key] if key % 2 and key in before else value for key, value in kept}
    assert touched(before, after) == changed(before, after)


@given(states, states)
def test_what_is_renewed_is_equal_and_keeps_what_it_can(
    before: dict[int, list[int]], after: dict[int, list[int]]
) -> None:
    made, different = renewed(before, after)
    assert made == after
    assert different == {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    assert touched(before, made) == different


def test_values_that_changed_are_found_among_very_many() -> None:
    before = {number: [number] for number in range(1000)}
    after = {**before, 17: [18], 1000: [0]}
    assert touched(before, after) == {17, 1000}
    del after[3]
    assert touched(before, after) == {3, 17, 1000}
