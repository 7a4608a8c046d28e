from datetime import UTC, datetime, timedelta

from clusters.names import ServiceName
from federation.registry.records import FreedIndex
from federation.registry.vips import FIRST, REST, choose

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def freed(index: int, ago: timedelta) -> FreedIndex:
    """An index that somebody gave up some time *ago*."""
    return FreedIndex(index, ServiceName("shop", "gone"), NOW - ago)


def test_the_first_service_gets_the_first_index() -> None:
    assert choose(FIRST, [], NOW, capacity=10) == 1


def test_an_index_that_was_never_used_is_taken_while_freed_ones_rest() -> None:
    assert choose(5, [freed(2, REST - timedelta(seconds=1))], NOW, capacity=10) == 5


def test_the_lowest_rested_index_is_taken_again() -> None:
    assert choose(5, [freed(4, REST), freed(2, REST), freed(1, timedelta(0))], NOW, capacity=10) == 2


def test_the_last_index_is_given_away_and_then_there_is_none() -> None:
    assert choose(10, [], NOW, capacity=10) == 10
    assert choose(11, [], NOW, capacity=10) is None
    assert choose(11, [freed(3, timedelta(hours=1))], NOW, capacity=10) is None


def test_a_range_that_became_shorter_has_only_what_fits() -> None:
    assert choose(50, [freed(20, REST), freed(9, REST)], NOW, capacity=10) == 9
    assert choose(50, [freed(20, REST)], NOW, capacity=10) is None
