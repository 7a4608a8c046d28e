"""What becomes of calls to a cluster that nobody hears of, by contract, by probe and by time."""

from datetime import UTC, datetime, timedelta

import pytest

from clusters.errors import InvalidValue
from clusters.staleness import CONNECTED, HELD, Policy, Reach, Staleness, judged, reached

AWAY = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SOON, LATE = AWAY + timedelta(seconds=5), AWAY + timedelta(seconds=61)

# by policy: before and after the bound, for gateways that are up, down, and not probed
TABLE = {
    Policy.HOLD: ("held held", "out out", "held out"),
    Policy.DRAIN: ("held out", "out out", "out out"),
    Policy.FAIL_CLOSED: ("held out", "out out", "out out"),
}


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("column", range(3))
def test_a_cluster_that_is_away(policy: Policy, column: int) -> None:
    reach = (Reach.UP, Reach.DOWN, Reach.UNPROBED)[column]
    contract = Staleness(policy, 60)
    states = [judged(contract, AWAY, reach, now).state for now in (SOON, LATE)]
    assert " ".join(states) == TABLE[policy][column]


@pytest.mark.parametrize("reach", Reach)
def test_a_cluster_that_is_connected_counts_whatever_probes_say(reach: Reach) -> None:
    assert judged(Staleness(Policy.FAIL_CLOSED, 1), None, reach, LATE) == CONNECTED


def test_a_verdict_says_since_when_why_and_until_when() -> None:
    told = judged(Staleness(Policy.DRAIN, 60), AWAY, Reach.UP, SOON)
    assert told.reason == (
        "its agent is away since 12:00:00, its gateways are up; until 12:01:00 (drain 60s)"
    )


def test_one_gateway_that_is_reached_is_enough() -> None:
    assert [reached(up) for up in ([], [False], [False, True])] == [Reach.UNPROBED, Reach.DOWN, Reach.UP]


def test_whoever_says_nothing_is_held() -> None:
    assert HELD.policy is Policy.HOLD


@pytest.mark.parametrize("seconds", [0.5, 40 * 86400.0])
def test_a_bound_that_makes_no_sense_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidValue, match="want 1s to 30d"):
        Staleness(after=seconds)
