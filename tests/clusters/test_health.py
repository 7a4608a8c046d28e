"""An endpoint's standing, check by check."""

from datetime import UTC, datetime, timedelta

import pytest

from clusters.errors import InvalidValue
from clusters.health import CheckKind, HealthCheck, Standing, Verdict, after

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=2)
CHECK = HealthCheck(CheckKind.TCP, 80, unhealthy_threshold=2, healthy_threshold=3)
YES, NO = Verdict(True), Verdict(False, "connection refused")


def walk(standing: Standing, *verdicts: Verdict) -> Standing:
    for verdict in verdicts:
        standing = after(standing, CHECK, verdict, LATER)
    return standing


def test_who_was_never_asked_is_believed() -> None:
    assert Standing(True, NOW).state == "believed"


def test_a_first_good_answer_makes_it_ready_and_changes_nothing_else() -> None:
    standing = walk(Standing(True, NOW), YES)
    assert (standing.state, standing.since) == ("ready", NOW)


def test_it_goes_down_after_as_many_bad_answers_in_a_row_as_are_wanted_and_says_why() -> None:
    assert walk(Standing(True, NOW), NO).ready
    standing = walk(Standing(True, NOW), NO, NO)
    assert (standing.state, standing.since, standing.reason) == ("down", LATER, "connection refused")


def test_a_good_answer_in_between_starts_the_count_again() -> None:
    assert walk(Standing(True, NOW), NO, YES, NO).ready


def test_it_comes_back_after_as_many_good_answers_in_a_row_as_are_wanted() -> None:
    down = Standing(False, NOW, "connection refused", checked=True)
    assert not walk(down, YES, YES).ready
    assert not walk(down, YES, YES, NO, YES).ready
    assert walk(down, YES, YES, YES) == Standing(True, LATER, checked=True)


def test_while_it_is_down_the_newest_reason_is_told_and_since_stays() -> None:
    standing = walk(Standing(False, NOW, "connection refused", checked=True), Verdict(False, "answered 500"))
    assert (standing.reason, standing.since) == ("answered 500", NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval", 0.05),
        ("interval", 4000.0),
        ("timeout", 0.0),
        ("timeout", 61.0),
        ("unhealthy_threshold", 0),
        ("healthy_threshold", 101),
        ("path", "healthz"),
        ("path", "/a b"),
        ("path", "/a\r\nHost: x"),
        ("service", "a b"),
        ("service", "x" * 128),
    ],
)
def test_a_check_that_makes_no_sense_cannot_be(field: str, value: object) -> None:
    with pytest.raises(InvalidValue):
        HealthCheck(**{"kind": CheckKind.TCP, "port": 80, field: value})  # type: ignore[arg-type]
