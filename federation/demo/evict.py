"""The scenario `evict`: a cluster is shut out, once while it is frozen and once while it fights back.

The cluster `cloud` and its neighbours call each other without end. Frozen, its agent and its gateway answer
nothing when it is evicted, and wake up afterwards. Hostile, they go on, and somebody calls the neighbours'
gateways with a copy of its keys. The calls of the neighbours among themselves may notice nothing of it.
"""

import json
import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from federation.demo.fleet import PYTHON, Fleet
from federation.demo.process import Process
from federation.demo.scenario import Report, raise_three, start_gateways
from federation.demo.stage import Stage
from federation.demo.tally import Made
from federation.demo.under_load import Loads, load, want_no_failure
from federation.demo.world import Site, at

# The aims are 1,000 and 300, on a machine that has nothing else to do; most of it is the command's own start.
LONGEST_EVICTION_MS = 5000.0
LONGEST_DENIAL_MS = 5000.0
# What is open from end to end, so that its end is noticed; a request meets a gateway first.
_STREAMS = ("TCP", "WebSocket")
_FOR_GOOD = 600.0
_A_WHILE = 2.0
# Longer than anything is tried again: what is let in after that stays in.
_AFTERWARDS = 4.0
_READY_WITHIN = 20.0


def show_evict(fleet: Fleet, stage: Stage, report: Report) -> None:
    """The command comes back, and nothing of the cluster is let in or heard any more."""
    onprem, cloud, edge = raise_three(fleet, stage)
    with load(fleet, stage, report, [(edge, onprem), (onprem, onprem)], new=30.0) as neighbours:
        calls = _Calls(fleet, neighbours, to_it=(edge, cloud), by_it=(cloud, onprem))
        with stage.step("cloud calls its neighbours, and they call it") as step:
            calls.wait_answered()
            neighbours.go_on(_A_WHILE)
            step.says = "calls go to cloud and come from it, new ones and on connections that are kept"
        frozen = _frozen(fleet, stage, calls, cloud)
        _come_back(fleet, stage, calls, cloud)
        hostile = _hostile(fleet, stage, calls, onprem, cloud)
        neighbours.until_enough()
        calls.stop()
    _judge(report, {"frozen": frozen, "hostile": hostile})
    want_no_failure(report)


class _Command(NamedTuple):
    """When an eviction was asked for, and how many milliseconds later the hub heard of it."""

    began: float
    heard_ms: float


class _Calls:
    """Calls to the evicted and by it; which of them go well is what is asked."""

    def __init__(
        self, fleet: Fleet, neighbours: Loads, to_it: tuple[Site, Site], by_it: tuple[Site, Site]
    ) -> None:
        self._neighbours = neighbours
        self._processes = [
            fleet.start_load(*pair, kept_seconds=_FOR_GOOD, new=20.0) for pair in (to_it, by_it)
        ]
        self._to_it = fleet.calls_log(*to_it)
        self._by_it = [fleet.calls_log(*by_it)]

    @property
    def _logs(self) -> list[Path]:
        return [self._to_it, *self._by_it]

    def go_on(self, seconds: float) -> None:
        self._neighbours.go_on(seconds)

    def add(self, process: Process, log: Path) -> None:
        """More calls by it."""
        self._processes.append(process)
        self._by_it.append(log)

    def wait_answered(self) -> None:
        """Wait until every caller has been answered anew and on a connection that was kept, from now on."""
        began = time.monotonic()

        def all_answered() -> bool:
            return all(
                {made.kept for made in calls if made.began > began and not made.failure} == {True, False}
                for calls in map(_made, self._logs)
            )

        self._neighbours.wait("calls to cloud and from it were answered", all_answered, _READY_WITHIN)

    def since(self, given: _Command, *, frozen: bool) -> dict[str, float]:
        """What became of them since the command was *given*, in milliseconds from then on.

        What a *frozen* gateway had received before is read by its own callers when it wakes up, and nothing
        of that has crossed since: of those only calls count that were begun since.
        """
        command = given.began
        to_it = [one for one in _made(self._to_it) if one.ended > command]
        by_it = [one for log in self._by_it for one in _made(log) if one.ended > command]
        if frozen:
            by_it = [one for one in by_it if one.began > command]
        answered = [one for one in (*to_it, *by_it) if not one.failure]
        streams = [one for one in to_it if one.failure and one.kept and one.protocol in _STREAMS]
        open_before = [one for one in (*answered, *streams) if one.opened < command]
        opened_since = [one for one in answered if one.opened >= command]
        return {
            "evict_ms": _latest(open_before, command),
            "deny_ms": _latest(opened_since, command),
            "command_ms": given.heard_ms,
        }

    def stop(self) -> None:
        for process in self._processes:
            process.stop()


def _latest(calls: Iterable[Made], command: float) -> float:
    """When the last of *calls* was over, in milliseconds after the *command*."""
    return round(max((1000 * (made.ended - command) for made in calls), default=0.0), 1)


def _made(log: Path) -> list[Made]:
    """The log's calls, as far as they are whole."""
    whole, _, _ = (log.read_bytes() if log.exists() else b"").rpartition(b"\n")
    return [Made.parse(line) for line in whole.splitlines()]


def _frozen(fleet: Fleet, stage: Stage, calls: _Calls, cloud: Site) -> dict[str, float]:
    with ExitStack() as stack:
        with stage.step("cloud's agent and gateway are frozen") as step:
            for part in ("agent", "gateway"):
                stack.enter_context(fleet.running(f"{cloud.cluster}-{part}").frozen())
            step.says = "cloud's agent and gateway are frozen, with calls under way to it and from it"
        command = _evict(fleet, stage, cloud)
        calls.go_on(_A_WHILE)
    with stage.step("cloud wakes up") as step:
        calls.go_on(_AFTERWARDS)
        step.says = "cloud has woken up, and is let in nowhere"
    return calls.since(command, frozen=True)


def _hostile(fleet: Fleet, stage: Stage, calls: _Calls, onprem: Site, cloud: Site) -> dict[str, float]:
    with stage.step("somebody calls onprem's gateway with cloud's keys") as step:
        stolen, log = fleet.folder / "stolen", fleet.folder / "logs" / "intruder.jsonl"
        shutil.copytree(fleet.agent_state(cloud), stolen, ignore=shutil.ignore_patterns("*.sock"))
        where = at(onprem.underlay[0], onprem.ports.ingress)
        authority = f"{onprem.service.dns_name}:{onprem.ports.tcp}"
        words = ["federation.demo.intruder", str(stolen), where, authority, "--log", str(log)]
        calls.add(fleet.start(f"{cloud.cluster}-intruder", cloud.gateway, [*PYTHON, *words]), log)
        calls.wait_answered()
        step.says = "somebody calls onprem's gateway with cloud's keys, past its own, and is let in"
    command = _evict(fleet, stage, cloud)
    with stage.step("cloud and the intruder go on trying") as step:
        calls.go_on(_AFTERWARDS)
        step.says = "cloud and the intruder went on trying, and are let in nowhere"
    return calls.since(command, frozen=False)


def _evict(fleet: Fleet, stage: Stage, cloud: Site) -> _Command:
    """Give the command."""
    with stage.step("fedgate clusters evict cloud") as step:
        began, by_the_clock = time.monotonic(), datetime.now(UTC)
        words = ["clusters", "evict", cloud.cluster, "--yes", "--wait", "20s", "-o", "json"]
        said = json.loads(fleet.run_fedgate(fleet.world.hub, [*words, "--hub", str(fleet.hub_state)]))
        started = datetime.fromisoformat(said["evicted_at"]) - by_the_clock
        step.says = f"cloud evicted at {len(said['let_go'])} gateways"
    return _Command(began, round(1000 * started.total_seconds(), 1))


def _come_back(fleet: Fleet, stage: Stage, calls: _Calls, cloud: Site) -> None:
    """Readmit the cluster, and have it join with new keys."""
    with stage.step("fedgate clusters readmit cloud, and a new token") as step:
        for name in (f"{cloud.cluster}-gateway", f"{cloud.cluster}-agent"):
            fleet.kill(fleet.running(name))
        fleet.run_fedgate(
            fleet.world.hub, ["clusters", "readmit", cloud.cluster, "--hub", str(fleet.hub_state)]
        )
        start_gateways(fleet, cloud, fleet.join(cloud, fleet.make_token(cloud), rejoin=True))
        calls.wait_answered()
        calls.go_on(_A_WHILE)
        step.says = "cloud was readmitted, has joined with new keys, and is called again"


def _judge(report: Report, found: dict[str, dict[str, float]]) -> None:
    """Report the longest of both times, and object to what took too long."""
    for key, most in (("evict_ms", LONGEST_EVICTION_MS), ("deny_ms", LONGEST_DENIAL_MS)):
        report.figures[key] = longest = max(times[key] for times in found.values())
        if longest >= most:
            report.problems.append(f"{key} is {longest:.0f}, want less than {most:.0f}")
    report.figures |= found
