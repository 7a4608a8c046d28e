"""When to renew: at about half of the validity, and for as long as it takes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.rotation import Step, Validity, due, jitter_of, last_call, next_step, renew_at
from tests.authorities import NOW, Authorities

START = datetime(2026, 6, 1, tzinfo=UTC)
DAY = Validity(START, START + timedelta(days=1))
jitters = st.floats(0, 1, exclude_max=True)


def test_nothing_is_due_before_and_everything_is_after_about_half() -> None:
    assert not due(START + timedelta(hours=10), DAY, jitter=0)
    assert due(START + timedelta(hours=13, minutes=13), DAY, jitter=0.999)


@given(jitters)
def test_the_moment_stays_within_a_twentieth_of_the_middle(jitter: float) -> None:
    assert 0.45 <= DAY.elapsed(renew_at(DAY, jitter)) <= 0.55


@given(jitters, st.timedeltas(timedelta(0), timedelta(days=3)))
def test_what_is_due_stays_due(jitter: float, late: timedelta) -> None:
    assert due(renew_at(DAY, jitter) + late, DAY, jitter)


def test_jitter_spreads_what_was_issued_together() -> None:
    moments = {renew_at(DAY, n / 10) for n in range(10)}
    assert max(moments) - min(moments) >= timedelta(hours=2)


def test_the_validity_of_a_certificate_is_what_it_states() -> None:
    validity = Validity.of(Authorities().hub_ca.certificate)
    assert validity == Validity(NOW - timedelta(minutes=5), NOW + timedelta(days=90))
    assert validity.covers(NOW)
    assert not validity.covers(NOW + timedelta(days=91))


def test_a_validity_that_ends_before_it_begins_is_none() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        Validity(START, START)


def test_what_is_not_valid_yet_is_due() -> None:
    """It was made while some clock was ahead."""
    assert due(START - timedelta(seconds=1), DAY, jitter=0.5)


def test_the_jitter_of_a_certificate_is_its_own_and_stays() -> None:
    pki = Authorities()
    first, second = (pki.issuing_ca(name).certificate for name in ("onprem", "cloud"))
    assert 0 <= jitter_of(first) < 1
    assert jitter_of(first) == jitter_of(first) != jitter_of(second)


# --- issuing CAs ----------------------------------------------------------------------------------

EARLY, HALF, LATE, LAST, OVER = (START + timedelta(hours=h) for h in (6, 14, 20, 23, 25))
NEXT = Validity(START + timedelta(hours=13), START + timedelta(hours=37))


@pytest.mark.parametrize(
    ("now", "successor", "acknowledged", "step"),
    [
        (EARLY, None, False, Step.WAIT),
        (HALF, None, False, Step.ASK),
        (HALF, NEXT, False, Step.HOLD),
        (HALF, NEXT, True, Step.SWITCH),
        (LATE, None, False, Step.ASK),
        (LATE, NEXT, False, Step.HOLD),
        (LAST, NEXT, False, Step.SWITCH),
        (OVER, None, False, Step.ASK),
        (OVER, NEXT, False, Step.SWITCH),
        (OVER, Validity(START, START + timedelta(hours=20)), True, Step.ASK),
        (START - timedelta(days=1), None, False, Step.ASK),
        (START - timedelta(days=1), NEXT, True, Step.ASK),
        (START - timedelta(days=1), Validity(START - timedelta(days=2), START), False, Step.SWITCH),
    ],
)
def test_the_next_step(now: datetime, successor: Validity | None, acknowledged: bool, step: Step) -> None:
    assert next_step(now, DAY, 0.5, successor, acknowledged=acknowledged) is step


@given(st.timedeltas(timedelta(0), timedelta(days=3)), st.booleans(), st.booleans())
def test_asking_again_decides_the_same(passed: timedelta, there: bool, acknowledged: bool) -> None:
    now, successor = START + passed, NEXT if there else None
    steps = {next_step(now, DAY, 0.5, successor, acknowledged=acknowledged) for _ in range(2)}
    assert len(steps) == 1
    assert steps != {Step.HOLD} or not last_call(now, DAY)
