"""Which gateways calls are sent to."""

from datetime import UTC, datetime

import pytest

from clusters.model import GatewayRecord, VipRange
from clusters.reports import Phase, Probe, Probes, Report
from federation.fronts import SETTLE, SILENT_AFTER, Fronts

LEFT, RIGHT, SIX = VipRange("241.0.0.0/17"), VipRange("241.0.128.0/17"), VipRange("fd00::/112")
RANGES = (LEFT, RIGHT)
GATEWAYS = (GatewayRecord("gw-1", ("192.0.2.1",)), GatewayRecord("gw-2", ("192.0.2.2",)))


def report(name: str, phase: Phase = Phase.UP, *ranges: VipRange) -> Report:
    return Report(name, phase, vip_ranges=tuple(vips.cidr for vips in ranges))


def pair(first: Phase = Phase.UP, second: Phase = Phase.UP) -> Fronts:
    """Two gateways, each with half of the range."""
    return Fronts([report("gw-1", first, LEFT), report("gw-2", second, RIGHT)])


def test_before_anybody_reports_everything_is_answered_and_published() -> None:
    assert Fronts().answered(RANGES) == RANGES
    assert Fronts().published(GATEWAYS) == GATEWAYS


def test_what_leads_to_a_gateway_that_is_up_is_answered() -> None:
    assert pair().answered(RANGES) == RANGES
    assert Fronts([report("gw-1", Phase.UP, LEFT)]).answered(RANGES) == (LEFT,)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.FAILED, Phase.DRAINING, Phase.ENDED])
def test_a_gateway_that_is_not_up_is_neither_answered_with_nor_published(phase: Phase) -> None:
    assert pair(second=phase).answered(RANGES) == (LEFT,)
    assert pair(second=phase).published(GATEWAYS) == GATEWAYS[:1]


def test_the_last_one_is_never_taken_out() -> None:
    both = pair(Phase.FAILED, Phase.DRAINING)
    assert both.answered(RANGES) == RANGES
    assert both.published(GATEWAYS) == GATEWAYS


def test_a_gateway_to_which_every_range_leads_keeps_all_of_them_answered() -> None:
    assert Fronts([report("gw-1"), report("gw-2", Phase.ENDED, RIGHT)]).answered(RANGES) == RANGES


def test_an_ingress_is_answered_with_by_no_vip() -> None:
    fronts = Fronts([report("gw-1", Phase.UP, LEFT), Report("in", Phase.UP, egress=False)])
    assert fronts.answered(RANGES) == (LEFT,)


def test_calls_move_when_a_phase_changes_and_not_otherwise() -> None:
    fronts = pair()
    assert not fronts.hear(report("gw-2", Phase.UP, RIGHT), 1)
    assert fronts.hear(report("gw-2", Phase.DRAINING, RIGHT), 2)
    assert not fronts.hear(report("gw-2", Phase.ENDED, RIGHT), 3)
    assert fronts.hear(report("gw-2", Phase.UP, RIGHT), 4)


def test_one_that_falls_silent_is_out_and_in_again_when_it_speaks() -> None:
    fronts = pair()
    for second in (1, 2, 3):
        fronts.hear(report("gw-1", Phase.UP, LEFT), second)
        assert not fronts.watch(second)
    assert fronts.watch(SILENT_AFTER + 0.5)
    assert fronts.answered(RANGES) == (LEFT,)
    assert not fronts.watch(SILENT_AFTER + 1)
    assert fronts.hear(report("gw-2", Phase.UP, RIGHT), 5)
    assert fronts.answered(RANGES) == RANGES


def test_whoever_was_held_up_does_not_take_everybody_for_silent() -> None:
    fronts = pair()
    assert not fronts.watch(20)
    assert fronts.answered(RANGES) == RANGES


def test_one_that_drains_goes_on_while_callers_find_another_if_there_is_one() -> None:
    leaving = report("gw-1")
    assert pair().settle(leaving) == SETTLE
    assert pair(second=Phase.FAILED).settle(leaving) == 0
    assert Fronts([leaving]).settle(leaving) == 0


def in_role(name: str, role: str, phase: Phase = Phase.UP) -> Report:
    return Report(name, phase, egress=role == "egress", roles=(role,))


def test_gateways_of_one_name_and_different_roles_are_two() -> None:
    fronts = Fronts([in_role("gw-1", "egress"), in_role("gw-1", "ingress", Phase.FAILED)])
    assert len(fronts.all()) == 2
    assert fronts.published(GATEWAYS) == GATEWAYS[1:]
    assert fronts.answered(RANGES) == RANGES


def test_an_egress_that_fails_takes_no_ingress_out_of_what_is_published() -> None:
    fronts = Fronts([in_role("gw-1", "egress", Phase.FAILED)])
    assert fronts.published(GATEWAYS) == GATEWAYS


def test_a_gateway_in_another_role_is_nobody_to_wait_for() -> None:
    fronts = Fronts([in_role("in", "ingress"), in_role("out", "egress")])
    assert fronts.settle(in_role("in", "ingress")) == 0
    assert Fronts([in_role("in", "ingress"), report("both")]).settle(in_role("in", "ingress")) == SETTLE


def test_what_a_gateway_found_out_counts_while_it_is_heard() -> None:
    found = (Probe("cloud", "192.0.2.20:15008", up=True, since=datetime(2026, 1, 1, tzinfo=UTC)),)
    fronts = Fronts([Report("gw-1", Phase.UP, probes=found)])
    assert fronts.probes() == (Probes("gw-1", found),)
    for second in (1, 2, 3, 4):
        fronts.watch(second)
    assert fronts.probes() == ()


def test_since_is_when_the_phase_began() -> None:
    fronts = pair()
    fronts.hear(report("gw-1", Phase.UP, LEFT), 5)
    fronts.hear(report("gw-2", Phase.DRAINING, RIGHT), 6)
    assert [front.since for front in fronts.all()] == [0, 6]
