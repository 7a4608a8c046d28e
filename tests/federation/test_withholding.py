"""A source that has lost most of its services while nobody looked is not believed at once."""

from datetime import UTC, datetime, timedelta

import pytest

from clusters.model import GatewayRecord, Offer
from clusters.names import ServiceName
from clusters.services import LocalService
from clusters.withheld import SHOWN, is_doubtful
from federation.sync import records
from federation.withholding import Withholding
from gateway.delta import Catalogue
from tests.builders import ONPREM, local_service, workload

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEB = workload("web", "10.0.0.9")
GATEWAY = GatewayRecord("gw", ("192.0.2.1",))


class Agent:
    """An agent that knows ten services from before its start."""

    def __init__(self, hold: timedelta = HOUR) -> None:
        self.now = NOON
        self.published = Catalogue()
        self.withholding = Withholding(ONPREM, hold, self.published, lambda: self.now)
        self.offered = offer(*range(10))

    def reads(self, *numbers: int) -> set[int]:
        """Read a source with those services; gives those that are offered then."""
        return self.takes(offer(*numbers))

    def takes(self, said: Offer) -> set[int]:
        self.offered = self.withholding.take(self.offered, said)
        return {int(name.name.removeprefix("s")) for name in self.offered.services}

    @property
    def told(self) -> int:
        """How many services the hub hears that are withheld."""
        told = self.published.get(records.WITHHELD, ONPREM)
        assert (told is None) == (self.withholding.told is None)
        return self.withholding.told.services if self.withholding.told else 0


def offer(*numbers: int, endpoint: str = "10.0.0.1") -> Offer:
    return Offer(services(*numbers, endpoint=endpoint), (WEB,), (GATEWAY,))


def services(*numbers: int, endpoint: str = "10.0.0.1") -> dict[ServiceName, LocalService]:
    return {s.service: s for s in (local_service(f"s{n}", endpoint) for n in numbers)}


def test_services_that_were_gone_when_the_agent_came_back_go_on_to_be_offered_and_the_hub_hears() -> None:
    agent = Agent()
    assert agent.reads(0, 1) == set(range(10))
    assert agent.told == 8


def test_of_what_the_source_still_says_all_counts_at_once() -> None:
    agent = Agent()
    agent.takes(offer(0, 1, endpoint="10.0.0.2"))
    by_name = {name.name: service.endpoints for name, service in agent.offered.services.items()}
    assert by_name["s0"] == ("10.0.0.2",)
    assert by_name["s5"] == ("10.0.0.1",)


def test_what_is_taken_out_of_a_source_that_is_followed_goes_at_once() -> None:
    agent = Agent()
    assert agent.reads(*range(10)) == set(range(10))
    assert agent.reads(0, 1) == {0, 1}
    assert agent.told == 0


def test_a_source_that_is_empty_all_of_a_sudden_is_taken_for_lost_and_callers_stay_known() -> None:
    agent = Agent()
    agent.reads(*range(10))
    assert agent.takes(Offer()) == set(range(10))
    assert agent.offered.workloads == (workload("web", "10.0.0.9"),)
    assert agent.reads(*range(9)) == set(range(10))
    assert agent.told == 1


def test_a_source_that_is_cut_off_after_some_services_loses_neither_gateways_nor_callers() -> None:
    agent = Agent()
    for _ in range(2):
        agent.takes(Offer(services(0, 1)))
        assert (agent.offered.gateways, agent.offered.workloads) == ((GATEWAY,), (WEB,))
    assert agent.withholding.ends(NOON)
    assert agent.takes(Offer(services(0, 1))) == {0, 1}
    assert (agent.offered.gateways, agent.offered.workloads) == ((), ())


def test_a_caller_that_is_missing_is_not_known_by_what_is_anothers_now() -> None:
    agent = Agent()
    other = workload("other", "10.0.0.9")
    agent.takes(Offer(services(0, 1), (other,)))
    assert agent.offered.workloads == (other, workload("web"))


def test_callers_and_gateways_that_are_changed_meanwhile_change_at_once() -> None:
    agent = Agent()
    agent.takes(offer(0, 1))
    moved = GatewayRecord("gw", ("192.0.2.2",))
    agent.takes(Offer(services(0, 1), (), (moved,)))
    assert (agent.offered.gateways, agent.offered.workloads) == ((moved,), ())


def test_a_source_that_is_lost_while_something_is_withheld_is_a_doubt_of_its_own() -> None:
    agent = Agent()
    agent.reads(0, 1)
    agent.now += HOUR - timedelta(seconds=1)
    assert agent.takes(Offer()) == set(range(10))
    assert agent.told == 10
    lost = agent.now
    agent.now += timedelta(seconds=1)
    assert agent.takes(Offer()) == set(range(10))
    assert not agent.withholding.ends(None)
    assert not agent.withholding.ends(NOON)
    assert agent.withholding.ends(lost)


def test_it_is_believed_when_that_very_withdrawal_is_accepted() -> None:
    agent = Agent()
    agent.reads(0, 1)
    assert not agent.withholding.ends(NOON - HOUR)
    assert agent.withholding.ends(NOON)
    assert agent.reads(0, 1) == {0, 1}
    assert agent.told == 0


def test_it_is_believed_when_its_time_is_over() -> None:
    agent = Agent()
    agent.reads(0, 1)
    agent.now += HOUR - timedelta(seconds=1)
    assert not agent.withholding.ends(None)
    agent.now += timedelta(seconds=1)
    assert agent.withholding.ends(None)
    assert agent.reads(0, 1) == {0, 1}


def test_services_that_come_back_to_the_source_are_not_withheld_any_more() -> None:
    agent = Agent()
    agent.reads(0, 1)
    agent.reads(0, 1, 2, 3)
    assert agent.told == 6
    agent.reads(*range(10))
    assert agent.told == 0


def test_what_is_taken_out_meanwhile_goes_at_once() -> None:
    agent = Agent()
    agent.reads(0, 1)
    assert agent.reads(0) == {0, *range(2, 10)}


def test_an_agent_that_is_not_to_doubt_does_not() -> None:
    agent = Agent(timedelta(0))
    assert agent.reads(0) == {0}


def test_an_agent_that_knew_of_nothing_has_nothing_to_doubt() -> None:
    agent = Agent()
    agent.offered = Offer()
    assert agent.reads(0, 1) == {0, 1}


def test_the_hub_hears_of_few_names() -> None:
    agent = Agent()
    agent.offered = offer(*range(100))
    agent.reads(0)
    told = agent.withholding.told
    assert told
    assert (told.services, len(told.names)) == (99, SHOWN)


@pytest.mark.parametrize(
    ("gone", "known", "doubted"), [(4, 4, False), (5, 9, True), (5, 10, False), (6, 10, True)]
)
def test_half_of_the_services_and_a_few_may_go_unasked(gone: int, known: int, doubted: bool) -> None:
    assert is_doubtful(gone, known) is doubted
