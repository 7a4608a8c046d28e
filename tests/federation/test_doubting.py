"""A hub that has lost most services while we were away is not believed at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from federation.doubting import Doubting
from federation.sync.client import LinkState

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KNOWN = [f"shop/s{n}" for n in range(10)]
LINK = LinkState(True, "hub", NOON)


def gone(names: Sequence[str]) -> dict[str, bytes | None]:
    return dict.fromkeys(names)


def soon(seconds: float = 1) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_most_services_that_are_gone_at_the_hub_when_we_come_back_stay_known() -> None:
    doubting = Doubting(HOUR)
    changes = {**gone(KNOWN[:8]), "shop/s9": b"{}"}
    assert doubting.sift(changes, len(KNOWN), LINK, soon()) == {"shop/s9": b"{}"}
    assert doubting.names == set(KNOWN[:8])


def test_what_is_gone_is_judged_over_all_messages_in_which_the_hub_tells_of_it() -> None:
    doubting = Doubting(HOUR)
    known = len(KNOWN)
    for n, part in enumerate((KNOWN[:3], KNOWN[3:6], KNOWN[6:8])):
        assert doubting.sift(gone(part), known, LINK, soon(4 * n)) == {}
        assert doubting.over(LINK, soon(4 * n + 3)) == set()
    assert doubting.names == set(KNOWN[:8])
    assert doubting.over(LINK, soon(60)) == set()


def test_few_services_that_are_gone_are_gone_when_the_hub_has_told_all() -> None:
    doubting = Doubting(HOUR)
    told: dict[str, bytes | None] = {"shop/s9": b"{}"}
    assert doubting.sift({**gone(KNOWN[:4]), **told}, len(KNOWN), LINK, soon()) == told
    assert doubting.sift(told, len(KNOWN), LINK, soon(3)) == told
    assert doubting.over(LINK, soon(7)) == set()
    assert doubting.over(LINK, soon(8)) == set(KNOWN[:4])
    assert doubting.over(LINK, soon(9)) == set()
    assert doubting.names == set()


def test_a_hub_that_never_rests_is_believed_all_the_same() -> None:
    doubting = Doubting(HOUR)
    doubting.sift(gone(KNOWN[:4]), len(KNOWN), LINK, soon())
    for second in range(2, 20):
        doubting.sift({"shop/s9": b"{}"}, len(KNOWN), LINK, soon(second))
    assert doubting.over(LINK, soon(20)) == set(KNOWN[:4])


def test_what_a_connection_that_broke_left_open_is_judged_with_what_the_next_one_tells() -> None:
    doubting = Doubting(HOUR)
    doubting.sift(gone(KNOWN[:4]), len(KNOWN), LINK, soon())
    assert doubting.over(replace(LINK, connected=False), soon(60)) == set()
    again = replace(LINK, since=soon(60))
    assert doubting.over(again, soon(61)) == set()
    doubting.sift({**gone(KNOWN[4:6]), KNOWN[0]: b"{}"}, len(KNOWN), again, soon(62))
    assert doubting.names == set()
    doubting.sift(gone(KNOWN[6:7]), len(KNOWN), again, soon(63))
    assert doubting.names == set(KNOWN[1:7])


def test_who_knows_of_few_services_believes_at_once() -> None:
    assert Doubting(HOUR).sift(gone(KNOWN[:4]), 4, LINK, soon()) == gone(KNOWN[:4])


def test_what_is_taken_away_later_is_gone_at_once() -> None:
    doubting = Doubting(HOUR)
    assert doubting.sift(gone(KNOWN), len(KNOWN), LINK, soon(6)) == gone(KNOWN)


def test_what_the_hub_tells_of_again_is_not_doubted_any_more() -> None:
    doubting = Doubting(HOUR)
    doubting.sift(gone(KNOWN), len(KNOWN), LINK, soon())
    told: dict[str, bytes | None] = {"shop/s1": b"{}"}
    assert doubting.sift(told, len(KNOWN), LINK, soon(60)) == told
    assert doubting.names == {*KNOWN} - {"shop/s1"}


def test_it_is_believed_after_some_time() -> None:
    doubting = Doubting(HOUR)
    doubting.sift(gone(KNOWN), len(KNOWN), LINK, soon())
    assert doubting.over(LINK, NOON + HOUR) == set()
    assert doubting.over(LINK, soon() + HOUR) == set(KNOWN)
    assert doubting.over(LINK, soon() + HOUR) == set()


def test_what_is_doubted_again_has_its_time_again_and_what_is_told_beside_it_gives_it_none() -> None:
    doubting, told = Doubting(HOUR), {KNOWN[9]: b"{}"}
    doubting.sift(gone(KNOWN[:8]), len(KNOWN), LINK, soon())
    doubting.sift(told, len(KNOWN), LINK, soon(3))
    assert doubting.since == soon()
    later = NOON + HOUR / 2
    doubting.sift(gone(KNOWN[:8]), len(KNOWN), replace(LINK, since=later), later)
    assert doubting.over(LINK, soon() + HOUR) == set()
    assert doubting.over(LINK, later + HOUR) == set(KNOWN[:8])
    assert doubting.since is None


def test_few_that_are_gone_when_doubted_ones_are_believed_in_the_end_are_gone_as_well() -> None:
    doubting = Doubting(HOUR)
    doubting.sift(gone(KNOWN[:6]), len(KNOWN), LINK, soon())
    again = replace(LINK, since=NOON + HOUR)
    doubting.sift(gone(KNOWN[6:8]), len(KNOWN), again, again.since)
    assert doubting.over(again, again.since + timedelta(seconds=6)) == set(KNOWN[:8])


def test_an_agent_that_is_not_to_doubt_believes_its_hub() -> None:
    assert Doubting(timedelta(0)).sift(gone(KNOWN), len(KNOWN), LINK, soon()) == gone(KNOWN)
