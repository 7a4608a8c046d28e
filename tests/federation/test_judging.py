"""Calls go nowhere that nobody hears of; and who hears of nobody does not know that."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clusters.model import Import, Member
from clusters.names import ClusterName, ServiceName
from clusters.reports import Probe, Probes
from clusters.staleness import Policy, Staleness
from federation.absence import AFRESH
from federation.judging import SETTLE, Judging
from federation.sync.client import LinkState
from tests.builders import CLOUD, ONPREM, imported, member

EDGE = ClusterName("edge")
AWAY = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
DRAIN = Staleness(Policy.DRAIN, 60)


class World:
    """What the agent of onprem is told; cart is exported by cloud with a contract to drain after a minute."""

    def __init__(self) -> None:
        (offering,) = imported("cart", CLOUD).offerings
        self.cart = replace(imported("cart"), offerings=(replace(offering, staleness=DRAIN),))
        self.members: dict[ClusterName, Member] = {CLOUD: member(CLOUD, "192.0.2.9")}
        self.imports: dict[ServiceName, Import] = {self.cart.service: self.cart}
        self.link = LinkState(True, "hub", AWAY - timedelta(hours=1))
        self.judging = Judging(ONPREM)

    def goes_away(self) -> None:
        self.members[CLOUD] = replace(self.members[CLOUD], away=AWAY)

    def cut(self, began: float, ended: float) -> None:
        """Have no hub between so many seconds after cloud went away."""
        self.link = LinkState(False, "hub", AWAY + timedelta(seconds=began))
        self.looks(began + 1)
        self.link = LinkState(True, "hub", AWAY + timedelta(seconds=ended))

    def looks(self, seconds: float, up: Sequence[bool] = (True,)) -> bool:
        """Look so many seconds after cloud went away, with gateways of it that are up or not."""
        now = AWAY + timedelta(seconds=seconds)
        found = tuple(Probe(CLOUD, f"192.0.2.{n}:15008", one, AWAY) for n, one in enumerate(up))
        return self.judging.look(self.members, self.imports, (Probes("gw", found),), self.link, now)

    @property
    def ready(self) -> int:
        return self.judging.judged(self.cart).offerings[0].ready_endpoints

    @property
    def state(self) -> str:
        return self.judging.told(self.cart.offerings[0]).state


def test_a_cluster_that_drains_is_out_when_its_bound_is_over_and_back_when_it_is_heard_of() -> None:
    world = World()
    world.goes_away()
    assert not world.looks(59)
    assert (world.ready > 0, world.state) == (True, "held")
    assert world.looks(61)
    assert (world.ready, world.state) == (0, "out")
    world.members[CLOUD] = replace(world.members[CLOUD], away=None)
    assert world.looks(62)
    assert (world.ready > 0, world.state) == (True, "connected")


def test_a_cluster_that_nobody_hears_of_nor_can_probe_is_out_at_once() -> None:
    world = World()
    world.goes_away()
    assert world.looks(1, up=())
    assert world.ready == 0


def test_an_agent_without_a_hub_knows_nothing_of_others_and_leaves_them_as_they_are() -> None:
    world = World()
    world.goes_away()
    world.looks(10)
    world.link = replace(world.link, connected=False)
    assert not world.looks(3600)
    assert (world.ready > 0, world.state) == (True, "unknown")


def test_what_was_out_stays_out_while_the_hub_is_away() -> None:
    world = World()
    world.goes_away()
    world.looks(61)
    world.link = replace(world.link, connected=False)
    world.looks(62)
    assert (world.ready, world.state) == (0, "out")


def test_an_agent_that_starts_hears_what_the_hub_has_to_tell_before_it_judges() -> None:
    world = World()
    world.goes_away()
    world.link = replace(world.link, since=AWAY + timedelta(seconds=100))
    assert not world.looks(101)
    assert world.looks(102)


def test_who_comes_back_a_little_later_than_we_do_is_not_out_meanwhile() -> None:
    world = World()
    world.looks(-10)
    world.goes_away()
    world.cut(0, 100)
    assert not world.looks(100 + SETTLE.total_seconds() - 1)
    assert (world.ready > 0, world.state) == (True, "held")
    assert world.looks(100 + SETTLE.total_seconds())
    assert (world.ready, world.state) == (0, "out")


def test_a_start_that_found_no_hub_for_long_is_a_return() -> None:
    world = World()
    world.goes_away()
    world.cut(0, 100)
    assert not world.looks(103)
    assert world.state == "held"


def test_who_was_out_and_is_back_before_we_are_is_in_at_once() -> None:
    world = World()
    world.goes_away()
    world.looks(61)
    world.cut(70, 100)
    world.looks(103)
    assert world.state == "out"
    world.members[CLOUD] = replace(world.members[CLOUD], away=None)
    assert world.looks(104)
    assert (world.ready > 0, world.state) == (True, "connected")


def test_after_a_short_cut_others_have_time_too_and_after_each_one_again() -> None:
    world = World()
    world.looks(-10)
    world.goes_away()
    for began, ended in ((0, 3), (100, 103)):
        world.cut(began, ended)
        assert not world.looks(ended + SETTLE.total_seconds() - 1, up=())
        assert world.state == "held"


def test_a_hub_that_is_found_at_once_after_the_start_leaves_nobody_time() -> None:
    world = World()
    world.goes_away()
    world.cut(96, 99)
    assert world.looks(102)
    assert world.state == "out"


def test_only_what_would_be_out_is_said_to_have_time_to_come_back() -> None:
    world = World()
    world.looks(-10)
    world.goes_away()
    world.cut(0, 10)
    world.looks(13)
    assert "time to come back" not in world.judging.told(world.cart.offerings[0]).reason
    world.looks(14, up=())
    assert "time to come back" in world.judging.told(world.cart.offerings[0]).reason


def test_who_is_out_takes_nobody_else_with_it() -> None:
    world = World()
    (other,) = imported("cart", EDGE).offerings
    world.cart = replace(world.cart, offerings=(*world.cart.offerings, other))
    world.goes_away()
    world.looks(61)
    judged = world.judging.judged(world.cart).offerings
    assert [(o.cluster, o.ready_endpoints > 0) for o in judged] == [(CLOUD, False), (EDGE, True)]


def test_home_is_known_to_be_there_without_a_hub() -> None:
    world = World()
    world.link = replace(world.link, connected=False)
    world.looks(0)
    (at_home,) = imported("cart", ONPREM).offerings
    assert world.judging.told(at_home).state == "connected"


def test_others_have_as_long_to_come_back_as_the_hub_gives_them() -> None:
    assert SETTLE.total_seconds() >= AFRESH


def test_the_hubs_clock_says_how_long_a_cluster_is_away() -> None:
    world = World()
    world.goes_away()
    world.link = replace(world.link, clock_skew=-30.0)
    assert not world.looks(61)
    assert world.looks(91)


def test_home_counts_whatever_is_said_of_it() -> None:
    world = World()
    world.judging = Judging(CLOUD)
    world.goes_away()
    assert not world.looks(3600, up=())
    assert world.ready > 0
