"""How a gateway tells its agent how it is."""

import os
import threading
from datetime import UTC, datetime

import pytest

from clusters.errors import JoinRefused
from clusters.reports import Phase, Probe, Report, ReportAnswer
from federation.reporting import Look, Reporter
from gateway.errors import EnvoyFailed

FIRST = Report("gw-1", Phase.STARTING)
ALIVE = Probe("cloud", "192.0.2.20:15008", up=True, since=datetime(2026, 1, 1, tzinfo=UTC))


class Agent:
    """Hears reports, or is deaf for as long as it is told to be."""

    def __init__(self) -> None:
        self.heard: list[Report] = []
        self.deaf = False
        self._more = threading.Condition()

    def tell(self, report: Report) -> ReportAnswer:
        with self._more:
            self._more.notify_all()
            if self.deaf:
                raise JoinRefused("unreachable", "connection refused")
            self.heard.append(report)
            return ReportAnswer(0.0)

    def until(self, phase: Phase) -> Report:
        with self._more:
            assert self._more.wait_for(lambda: any(r.phase is phase for r in self.heard), 10)
            return next(report for report in self.heard if report.phase is phase)


def nothing() -> tuple[Probe, ...]:
    raise EnvoyFailed("no answer from Envoy")


def reporter(agent: Agent, look: Look = tuple) -> Reporter:
    return Reporter(agent.tell, FIRST, look)


def test_it_is_told_at_once_and_at_the_end_that_it_has_ended() -> None:
    agent = Agent()
    with reporter(agent):
        agent.until(Phase.STARTING)
    assert agent.heard[-1].phase is Phase.ENDED


def test_how_often_envoy_ended_and_how_is_told() -> None:
    agent = Agent()
    with reporter(agent) as told:
        told.failed(2, "signal 9")
        failed = agent.until(Phase.FAILED)
    assert (failed.restarts, failed.last_end) == (2, "signal 9")


def test_what_it_has_found_out_is_told_while_envoy_is_up() -> None:
    agent = Agent()
    with reporter(agent, lambda: (ALIVE,)) as told:
        assert agent.until(Phase.STARTING).probes == ()
        told.up(os.getpid())
        assert agent.until(Phase.UP).probes == (ALIVE,)
    assert agent.heard[-1].probes == ()


def test_an_envoy_that_says_nothing_of_others_does_not_keep_the_gateway_from_telling_how_it_is() -> None:
    agent = Agent()
    with reporter(agent, nothing) as told:
        told.up(os.getpid())
        assert agent.until(Phase.UP).probes == ()


def test_an_agent_that_hears_nothing_is_told_again_and_the_log_hears_of_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = Agent()
    agent.deaf = True
    with caplog.at_level("INFO"), reporter(agent) as told:
        for _ in range(3):
            told.up(os.getpid())
        agent.deaf = False
        agent.until(Phase.UP)
    said = [record.message for record in caplog.records]
    assert said.count("agent does not hear how the gateway is") <= 1
    assert said.count("agent hears how the gateway is") <= 1


async def test_whoever_leaves_waits_for_as_long_as_the_agent_says() -> None:
    agent = Agent()
    with reporter(agent) as told:
        await told.leaving()
    assert Phase.DRAINING in [report.phase for report in agent.heard]
