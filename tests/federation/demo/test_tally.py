"""What calls come to: how many, how many failed, and for how long nobody got through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.demo.tally import Killing, Made, tally


def made(began: float, ended: float, *, failure: str = "", kept: bool = False) -> Made:
    return Made(
        began, ended, began - 1 if kept else began, "TCP", "" if failure else "catalog@cloud", failure
    )


def test_nothing_made_is_nothing_and_no_error() -> None:
    assert tally([]).document() == tally([[]]).document()
    assert (tally([]).total, tally([]).longest_gap) == (0, 0.0)


def test_calls_of_all_callers_count_and_failures_are_told_apart() -> None:
    found = tally([[made(0, 1), made(1, 2, failure="reset")], [made(0, 1, kept=True)]])
    assert (found.total, found.failed, found.new_connections) == (3, 1, 2)
    assert found.failures == (("TCP: reset", 1),)
    assert found.answered_by == (("catalog@cloud", 2),)


def test_a_gap_is_the_time_between_two_calls_that_succeeded() -> None:
    calls = [made(0, 0.1), made(0.2, 0.3, failure="reset"), made(0.4, 0.5, failure="reset"), made(2, 2.1)]
    assert tally([calls]).longest_gap == pytest.approx(2.0)


def test_a_gap_at_the_beginning_or_at_the_end_counts_too() -> None:
    assert tally([[made(0, 3), made(3, 3.1)]]).longest_gap == pytest.approx(3)
    assert tally([[made(0, 0.1), made(0.1, 5.1, failure="late")]]).longest_gap == pytest.approx(5)


def test_one_callers_luck_does_not_shorten_anothers_gap() -> None:
    lucky = [made(i / 10, i / 10 + 0.05) for i in range(100)]
    assert tally([lucky, [made(0, 0.1), made(9, 9.1)]]).longest_gap == pytest.approx(9)


@pytest.mark.parametrize(
    ("opened", "ended", "failure", "cut"),
    [
        (9.9, 10.1, "reset", True),
        (5.0, 12.9, "reset", True),
        (5.0, 13.1, "reset", False),  # by then its caller had to know
        (10.1, 10.2, "reset", False),  # opened when it was dead already
        (5.0, 9.9, "reset", False),  # failed before anything was killed
        (9.9, 10.1, "", False),
    ],
)
def test_what_was_under_way_to_what_was_killed_may_fail(
    opened: float, ended: float, failure: str, cut: bool
) -> None:
    call = Made(max(opened, ended - 0.2), ended, opened, "TCP", "", failure)
    assert call.was_cut_by(Killing(9.95, 10.0), known_within=3.0) is cut


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10), st.booleans()), min_size=1), st.randoms())
def test_the_order_of_the_lines_does_not_matter(
    calls: list[tuple[float, float, bool]], chance: object
) -> None:
    lines = [made(began, began + took, failure="reset" if bad else "") for began, took, bad in calls]
    assert tally([lines]).longest_gap == tally([sorted(lines, key=lambda call: call.ended)]).longest_gap


@given(st.floats(0, 1e6), st.booleans(), st.text())
def test_a_line_is_read_as_it_was_written(began: float, kept: bool, failure: str) -> None:
    moment = round(began, 6)
    call = Made(moment, moment, 0.0 if kept else moment, "TCP", "", failure)
    assert Made.parse(call.encode()) == call


@pytest.mark.parametrize("line", ["", "{}", "[1, 2]", "7", '["a", 1, 1, "TCP", "", ""]'])
def test_a_line_that_is_no_call_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Made.parse(line)
