"""Spans of time, as people write and read them."""

from datetime import UTC, datetime, timedelta

import pytest

from clusters.durations import parse_duration, relative, short
from clusters.errors import InvalidValue

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("10", 10), ("0.5", 0.5), ("500ms", 0.5), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800)],
)
def test_a_duration_is_read(written: str, seconds: float) -> None:
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["", "soon", "-1s", "1w", "s", "1h 30m", "1_0", "9" * 40 + "d", "nan"])
def test_what_is_no_duration_is_refused_and_told_how_to_write_one(written: str) -> None:
    with pytest.raises(InvalidValue, match="duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=0.4), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=119), "119m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=89, hours=23), "89d"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_that_keeps_two_of_it(span: timedelta, said: str) -> None:
    assert short(span) == said


def test_a_moment_is_said_from_now() -> None:
    assert relative("2026-11-22T12:00:00.5Z", NOW) == "now"
    assert relative("2026-11-22T11:57:00", NOW) == "3m ago"
    assert relative("2026-11-22T15:00:00+01:00", NOW) == "in 2h"
