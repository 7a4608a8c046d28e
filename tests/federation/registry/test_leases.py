import pytest

from federation.errors import LeaseNotFound
from federation.registry.leases import STALL, Leases
from federation.registry.store import LeaseId

ONE, TWO = LeaseId(1), LeaseId(2)


def looks(leases: Leases, start: float, end: float) -> list[tuple[float, LeaseId]]:
    """Look twice a second from *start* to *end*: which lease ended, and when."""
    ended = []
    now = start
    while now <= end:
        ended += [(now, lease) for lease in leases.take_overdue(now)]
        now += 0.5
    return ended


def test_a_lease_ends_when_its_time_is_over_and_once() -> None:
    leases = Leases(0)
    leases.add(ONE, 3, 0)
    leases.add(TWO, 5, 0)
    assert looks(leases, 0, 10) == [(3, ONE), (5, TWO)]


def test_renewal_starts_the_time_afresh() -> None:
    leases = Leases(0)
    leases.add(ONE, 3, 0)
    assert looks(leases, 0, 2) == []
    leases.renew(ONE, 2)
    assert looks(leases, 2, 10) == [(5, ONE)]


def test_a_lease_that_ended_or_was_removed_cannot_be_renewed() -> None:
    leases = Leases(0)
    leases.add(ONE, 1, 0)
    leases.add(TWO, 1, 0)
    leases.remove(TWO)
    leases.remove(TWO)
    assert looks(leases, 0, 2) == [(1, ONE)]
    for lease in (ONE, TWO):
        with pytest.raises(LeaseNotFound):
            leases.renew(lease, 2)


def test_time_in_which_we_stood_still_counts_against_nobody() -> None:
    leases = Leases(0)
    leases.add(ONE, 3, 0)
    assert looks(leases, 0, 2) == []
    assert looks(leases, 100, 110) == [(101, ONE)]


def test_a_stall_gives_no_lease_more_than_its_time() -> None:
    leases = Leases(0)
    leases.add(ONE, 3, 99)
    assert leases.take_overdue(100) == []
    assert looks(leases, 100.5, 110) == [(103, ONE)]


def test_a_slow_look_is_no_stall() -> None:
    leases = Leases(0)
    leases.add(ONE, 1, 0)
    assert leases.take_overdue(STALL) == [ONE]
