"""The scenario `calls`, and how every scenario begins: a hub, and two clusters that come to call each other.

A scenario is a function that has a `Fleet` do something, shows it on a `Stage` and writes it into a `Report`.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from federation.demo.calls import Call, Kind, call, kinds, resolve
from federation.demo.fleet import Fleet
from federation.demo.lookup import Resolved
from federation.demo.process import Process
from federation.demo.stage import Stage
from federation.demo.tally import Tally
from federation.demo.world import Site

_FIRST_CALL_WITHIN = 15.0


@dataclass(slots=True)
class Report:
    """What has come of it so far."""

    scenario: str
    mode: str = "none"
    join_to_first_call: float | None = None
    calls: list[Call] = field(default_factory=list)
    load: Tally | None = None
    figures: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    finished: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything was shown, and every call was as it should be."""
        shown = self.load is not None or bool(self.calls)
        return self.finished and shown and not self.problems and all(made.ok for made in self.calls)

    def document(self, seconds: float) -> dict[str, object]:
        """The demo's JSON."""
        first = self.join_to_first_call
        return {
            "ok": self.ok,
            "scenario": self.scenario,
            "mode": self.mode,
            "seconds": round(seconds, 2),
            "join_to_first_call_seconds": None if first is None else round(first, 2),
            "calls": [made.record() for made in self.calls],
            **self.figures,
            **(self.load.document() | {"problems": self.problems} if self.load else {}),
        }


def show_calls(fleet: Fleet, stage: Stage, report: Report) -> None:
    """Both directions, every protocol, by ordinary programs."""
    onprem, cloud = fleet.world.sites
    raise_clusters(fleet, stage, report)
    for caller, callee in ((onprem, cloud), (cloud, onprem)):
        report.calls += _call_across(fleet, stage, kinds(cloud.ports), caller, callee)


def raise_clusters(fleet: Fleet, stage: Stage, report: Report) -> None:
    """The hub and both clusters, until a call from the first to the second is answered."""
    onprem, cloud = fleet.world.sites
    raise_first_cluster(fleet, stage, onprem, cloud)
    token = fleet.make_token(cloud)
    began = time.perf_counter()
    _join(fleet, stage, cloud, token)
    with stage.step(f"a first call from onprem to {cloud.answers_as}") as step:
        attempts = _first_call(fleet, kinds(cloud.ports)[0], onprem, cloud)
        report.join_to_first_call = time.perf_counter() - began
        step.says = f"first call across, {report.join_to_first_call:.1f} s after cloud's `fedgate join` began"
        step.says += f", try {attempts}" if attempts > 1 else ""


def raise_three(fleet: Fleet, stage: Stage) -> tuple[Site, Site, Site]:
    """The hub and three clusters, the third one without backends of its own: onprem, cloud and edge."""
    onprem, cloud = fleet.world.sites
    edge = fleet.world.edge
    if edge is None:
        raise ValueError("this scenario has a third site")
    raise_first_cluster(fleet, stage, onprem, cloud)
    for site in (cloud, edge):
        _join(fleet, stage, site, fleet.make_token(site))
    return onprem, cloud, edge


def _join(fleet: Fleet, stage: Stage, site: Site, token: Path) -> None:
    with stage.step(f"{site.cluster}: fedgate join, and a gateway") as step:
        start_gateways(fleet, site, fleet.join(site, token))
        step.says = f"{site.cluster} has joined; its agent and gateway are up"


def raise_first_cluster(fleet: Fleet, stage: Stage, onprem: Site, cloud: Site) -> None:
    """The hub, the first cluster, and the sample services of both, which come up meanwhile."""
    stage.heading("Two clusters join")
    samples = [process for site in (onprem, cloud) for process in fleet.start_samples(site)]
    with stage.step("fedgate hub") as step:
        fleet.start_hub()
        step.says = f"the hub is up, at {fleet.world.hub_address}"
    _join(fleet, stage, onprem, fleet.make_token(onprem))
    with stage.step("sample services") as step:
        fleet.wait_listening(samples)
        step.says = f"the sample services {onprem.answers_as} and {cloud.answers_as} are up"


def start_gateways(fleet: Fleet, site: Site, agent: Process) -> None:
    """Start all gateways of *site*."""
    for front in site.fronts:
        fleet.start_gateway(site, agent, front)


def _first_call(fleet: Fleet, kind: Kind, caller: Site, callee: Site) -> int:
    """Try until a call across is answered, as news has yet to reach everybody; return which attempt was."""
    attempts = 0

    def attempt() -> bool | None:
        nonlocal attempts
        if not (found := resolve(caller, callee.service.dns_name).addresses):
            return None
        attempts += 1
        made = call(kind, caller, callee, found[0], fleet.access_log(callee))
        return True if made.answered_by else None

    fleet.wait_for("a call across was answered", attempt, fleet.control, _FIRST_CALL_WITHIN)
    return attempts


def _call_across(fleet: Fleet, stage: Stage, ways: Sequence[Kind], caller: Site, callee: Site) -> list[Call]:
    """Look the service up and call it in every way, showing each; then whom its side saw."""
    name = callee.service.dns_name
    stage.heading(f"{caller.workload}@{caller.cluster} calls {name}")

    def looked_up() -> Resolved | None:
        found = resolve(caller, name)
        return found if found.addresses else None

    found = fleet.wait_for(f"{name} resolved", looked_up, fleet.control, _FIRST_CALL_WITHIN)
    stage.result(True, f"{'DNS':<10} {', '.join(found.addresses)}", f"{found.ms:.1f} ms")
    made = []
    for kind in ways:
        one = call(kind, caller, callee, found.addresses[0], fleet.access_log(callee))
        what = one.failure or f"{one.answered_by} answered"
        stage.result(one.ok, f"{one.protocol:<10} {one.program:<12} {what}", f"{one.ms:.1f} ms")
        made.append(one)
    for identity, count in Counter(one.server_saw for one in made if one.server_saw).items():
        stage.note(f"{callee.cluster} saw, {count} of {len(made)} times: {identity}")
    return made
