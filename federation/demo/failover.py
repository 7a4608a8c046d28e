"""The scenario `failover`: a service loses its backends in one cluster, then that whole cluster.

The callers are in a third cluster, `edge`. Both others run what they call, and the cloud is the nearer one.
Its backends are killed; later the power of all its machines fails: gateway, agent and servers are gone
without a word, and what is sent there is lost. Only what was under way to what was killed may fail.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence

from federation.demo.fleet import Fleet
from federation.demo.process import Process
from federation.demo.scenario import Report, raise_three
from federation.demo.stage import Stage
from federation.demo.tally import Killing
from federation.demo.topology import Host
from federation.demo.under_load import Loads, load
from federation.demo.world import Site
from federation.errors import StepFailed

LONGEST_GAP = 3.0
_A_WHILE = 3.0
_READY_WITHIN = 15.0


def show_failover(fleet: Fleet, stage: Stage, report: Report) -> None:
    """Calls go on elsewhere, in the same connect."""
    onprem, cloud, edge = raise_three(fleet, stage)
    killed: list[Killing] = []
    with load(fleet, stage, report, [(edge, cloud)], new=60.0) as loads:
        with stage.step("calls go to the nearer cluster") as step:
            wait_answered(loads, cloud)
            loads.go_on(_A_WHILE)
            step.says = f"{edge.workload}@{edge.cluster} is answered by {cloud.answers_as}"
        with stage.step("kill -9 of the backends in cloud") as step:
            killed.append(_kill(fleet, lambda p: p.name in _backends(cloud)))
            loads.go_on(_A_WHILE)
            _check_answered(loads, onprem)
            step.says = f"the backends in cloud were killed; {onprem.answers_as} answers"
        with stage.step("the cloud's backends start again") as step:
            fleet.wait_listening(fleet.start_samples(cloud))
            wait_answered(loads, cloud)
            step.says = f"{cloud.answers_as} is back"
            loads.go_on(_A_WHILE)
        with stage.step("the power of the whole cloud cluster fails") as step:
            killed.append(cut_power(fleet, cloud))
            loads.go_on(_A_WHILE)
            _check_answered(loads, onprem)
            step.says = f"the whole cloud cluster is gone; {onprem.answers_as} answers"
        loads.until_enough()
    _judge(report, loads, killed)


def _judge(report: Report, loads: Loads, killed: Sequence[Killing]) -> None:
    if lost := loads.lost(killed, LONGEST_GAP):
        text = f"{len(lost)} calls failed that were not under way to what was killed"
        report.problems.append(f"{text}: the first {lost[0].protocol}, {lost[0].failure}")
    if report.load and report.load.longest_gap >= LONGEST_GAP:
        gap = report.load.longest_gap
        report.problems.append(f"a caller got no answer for {gap:.1f} s, want less than {LONGEST_GAP:g} s")


def _backends(site: Site) -> set[str]:
    return {f"{site.cluster}-{kind}" for kind in ("http", "grpc", "tcp")}


def _kill(fleet: Fleet, which: Callable[[Process], bool]) -> Killing:
    """Kill every program that is one of *which*, all at once."""
    doomed = [process for process in fleet.processes if which(process)]
    pids = [process.pid for process in doomed]  # to find them takes longer than to kill them
    began = time.monotonic()
    for pid in pids:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    for process in doomed:
        fleet.kill(process)
    return Killing(began, time.monotonic())


def cut_power(fleet: Fleet, site: Site) -> Killing:
    """End everything of *site* at one moment; its machines, where it has its own, do not even hang up."""
    began = time.monotonic()
    for front in site.fronts:
        if isinstance(front.machine, Host):
            front.machine.unplug("underlay")
    dead = time.monotonic()
    ended = _kill(fleet, lambda process: process.name.startswith(f"{site.cluster}-"))
    return Killing(began, dead if isinstance(site.gateway, Host) else ended.dead)


def wait_answered(loads: Loads, site: Site) -> None:
    """Wait until *site*'s service answers new calls."""
    loads.wait(f"{site.answers_as} answered", lambda: loads.newest() == {site.answers_as}, _READY_WITHIN)


def _check_answered(loads: Loads, site: Site) -> None:
    if (found := loads.newest()) != {site.answers_as}:
        raise StepFailed(f"{' and '.join(found) or 'nobody'} answers, not {site.answers_as}", "")
