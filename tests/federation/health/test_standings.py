"""Which endpoints are checked, and what of an offer takes calls by what was found."""

from dataclasses import replace
from datetime import UTC, datetime

from clusters.health import CheckKind, HealthCheck, Verdict
from clusters.model import Offer
from clusters.names import ServiceName
from clusters.services import LocalService
from federation.health.standings import Checked, Standings
from tests.builders import local_service

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHECK = HealthCheck(CheckKind.TCP, 80, unhealthy_threshold=1)
CATALOG = local_service("catalog", "10.0.0.1", "10.0.0.2", health=CHECK)
NAME = CATALOG.service
NO = Verdict(False, "connection refused")


def offer(*services: LocalService) -> Offer:
    return Offer({service.service: service for service in services})


def followed(*services: LocalService) -> tuple[Standings, dict[str, Checked]]:
    standings = Standings()
    due = standings.follow(offer(*services), NOW)
    return standings, {checked.address: checked for checked in due}


def test_endpoints_of_a_service_with_a_check_are_checked_and_no_others() -> None:
    standings, due = followed(CATALOG, local_service("cart", "10.0.0.9"))
    assert set(due) == {"10.0.0.1", "10.0.0.2"}
    assert standings.of(ServiceName("shop", "cart")) == {}


def test_what_nobody_has_asked_takes_calls_so_a_start_withdraws_nothing() -> None:
    standings, _ = followed(CATALOG)
    assert standings.applied(offer(CATALOG)) == offer(CATALOG)
    assert standings.count() == {"ready": 0, "believed": 2, "down": 0}


def test_an_endpoint_that_is_down_is_marked_and_the_other_stays() -> None:
    standings, due = followed(CATALOG)
    assert standings.hear(due["10.0.0.1"], NO, NOW)
    (marked,) = standings.applied(offer(CATALOG)).services.values()
    assert (marked.endpoints, marked.ready) == (CATALOG.endpoints, ("10.0.0.2",))
    assert [(name, address, why.reason) for name, address, why in standings.down()] == [
        (NAME, "10.0.0.1", "connection refused")
    ]


def test_one_that_answers_again_is_marked_no_more() -> None:
    standings, due = followed(CATALOG)
    standings.hear(due["10.0.0.1"], NO, NOW)
    down = standings.applied(offer(CATALOG))
    assert standings.hear(due["10.0.0.1"], Verdict(True), NOW)
    assert standings.applied(down) == offer(CATALOG)


def test_an_answer_that_changes_nothing_is_no_turn() -> None:
    standings, due = followed(CATALOG)
    assert not standings.hear(due["10.0.0.1"], Verdict(True), NOW)
    assert standings.hear(due["10.0.0.1"], NO, NOW)
    assert not standings.hear(due["10.0.0.1"], NO, NOW)


def test_a_source_that_is_read_again_does_not_make_an_endpoint_ready() -> None:
    standings, due = followed(CATALOG)
    standings.hear(due["10.0.0.1"], NO, NOW)
    longer = replace(CATALOG, endpoints=(*CATALOG.endpoints, "10.0.0.3"))
    assert [checked.address for checked in standings.follow(offer(longer), NOW)] == ["10.0.0.3"]
    (marked,) = standings.applied(offer(longer)).services.values()
    assert marked.ready == ("10.0.0.2", "10.0.0.3")


def test_what_was_down_before_a_restart_is_down_until_it_answers() -> None:
    standings, due = followed(replace(CATALOG, down=("10.0.0.2",)))
    standings.follow(offer(CATALOG), NOW)  # the source, which knows nothing of that
    (marked,) = standings.applied(offer(CATALOG)).services.values()
    assert marked.down == ("10.0.0.2",)
    assert standings.hear(due["10.0.0.2"], Verdict(True), NOW)


def test_a_check_that_is_taken_away_takes_its_verdicts_along() -> None:
    standings, due = followed(CATALOG)
    standings.hear(due["10.0.0.1"], NO, NOW)
    plain = replace(CATALOG, health=None)
    standings.follow(offer(plain), NOW)
    assert standings.applied(offer(plain)) == offer(plain)
    assert not standings.wants(due["10.0.0.1"])


def test_another_check_asks_at_once_and_what_the_old_one_still_says_does_not_count() -> None:
    standings, due = followed(CATALOG)
    other = replace(CATALOG, health=replace(CHECK, port=81))
    (first, _) = standings.follow(offer(other), NOW)
    assert first.check.port == 81
    assert not standings.hear(due["10.0.0.1"], NO, NOW)


def test_a_check_that_is_changed_and_changed_back_is_not_made_twice() -> None:
    standings, due = followed(CATALOG)
    standings.follow(offer(replace(CATALOG, health=replace(CHECK, port=81))), NOW)
    again = standings.follow(offer(CATALOG), NOW)
    assert [standings.wants(checked) for checked in again] == [True, True]
    assert not standings.wants(due["10.0.0.1"])


def test_of_a_service_that_is_gone_nothing_is_left() -> None:
    standings, due = followed(CATALOG)
    standings.hear(due["10.0.0.1"], NO, NOW)
    standings.follow(Offer(), NOW)
    assert standings.applied(Offer()) == Offer()
    assert list(standings.down()) == []
