"""A hub that has lost most services while we were away is not believed at once."""

from collections.abc import Sequence
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


def test_few_services_that_are_gone_are_gone() -> None:
    doubting = Doubting(HOUR)
    assert doubting.sift(gone(KNOWN[:4]), len(KNOWN), LINK, soon()) == gone(KNOWN[:4])
    assert doubting.names == set()


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
    assert doubting.over(NOON + HOUR) == set()
    assert doubting.over(soon() + HOUR) == set(KNOWN)
    assert doubting.over(soon() + HOUR) == set()


def test_an_agent_that_is_not_to_doubt_believes_its_hub() -> None:
    assert Doubting(timedelta(0)).sift(gone(KNOWN), len(KNOWN), LINK, soon()) == gone(KNOWN)
