"""The scenario `partition`: links are cut one at a time, and in the end a whole cluster is gone.

The callers are in a third cluster, `edge`; both others run what they call, and the cloud is the nearer one.

    control     cloud hears nothing of the hub, then edge: no call may notice
    data        edge and cloud hear nothing of each other, the hub hears both
    one way     what edge sends to cloud is lost, then what cloud sends to edge
    gone        the power of all of cloud's machines fails

A packet is lost when its sender knows a neighbour's hardware address that nobody has: each way by itself, and
without a word. On loopback there are no links: there cloud's agent stands still instead of the first, and the
next two are left out.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from federation.demo import seen
from federation.demo.failover import LONGEST_GAP, cut_power, wait_answered
from federation.demo.fleet import Fleet
from federation.demo.machines import Machine
from federation.demo.scenario import Report, raise_three
from federation.demo.stage import Stage
from federation.demo.tally import Killing
from federation.demo.topology import Host
from federation.demo.under_load import Loads, load
from federation.demo.world import Site

PROBED_WITHIN_MS = 3000.0
MISSED_WITHIN_MS = 10_000.0
_A_WHILE = 3.0
_SETTLED_WITHIN = 30.0


@dataclass(slots=True)
class _Part:
    """One cut: when it began and ended, what was under way to whom, and how long it took to be noticed."""

    name: str
    limit_ms: float
    began: float = 0.0
    ended: float = 0.0
    noticed_ms: float = 0.0
    cut: list[Killing] = field(default_factory=list)

    def failed(self, loads: Loads) -> int:
        """How many calls failed in it that were not under way over what was cut."""
        lost = loads.lost(self.cut, LONGEST_GAP)
        return sum(self.began <= made.ended <= self.ended for made in lost)


class _Show:
    """The parts, one after the other."""

    def __init__(self, fleet: Fleet, stage: Stage, loads: Loads, sites: tuple[Site, Site, Site]) -> None:
        self._fleet = fleet
        self._stage = stage
        self._loads = loads
        self._onprem, self._cloud, self._edge = sites
        self.parts: list[_Part] = []

    def control(self, site: Site, state: str, was: str) -> None:
        """*site* and the hub hear nothing of each other, until edge's agent has cloud as *state*."""
        name = f"control link of {site.cluster}"
        part = self._begun(name, MISSED_WITHIN_MS)
        with self._stage.step(f"the {name} is cut") as step:
            with unheard(self._fleet, site):
                self._noticed(part, f"cloud is {state} at edge", lambda: self._exporter() == state)
                self._loads.go_on(_A_WHILE)
            self._settle(f"cloud is {was} again", lambda: self._exporter() == was)
            self._loads.go_on(_A_WHILE)
            took = part.noticed_ms / 1000
            step.says = f"the {name} was cut: after {took:.1f} s edge had cloud as {state}, and called it"
        part.ended = time.monotonic()

    def data(self, name: str, *ways: tuple[Site, Site]) -> None:
        """What the first of each of *ways* sends to the second is lost, until edge's gateway notices."""
        part = self._begun(name, PROBED_WITHIN_MS)
        with self._stage.step(f"{name} is lost") as step, ExitStack() as stack:
            for sender, receiver in ways:
                stack.enter_context(_lost(sender.gateway, receiver.underlay))
            now = time.monotonic()
            part.cut.append(Killing(now, now))
            self._noticed(part, "edge finds cloud's gateway dead", lambda: self._probed() == {False})
            wait_answered(self._loads, self._onprem)
            self._loads.go_on(_A_WHILE)
            stack.close()
            self._settle("edge finds cloud's gateway alive", lambda: self._probed() == {True})
            wait_answered(self._loads, self._cloud)
            self._loads.go_on(_A_WHILE)
            step.says = f"{name} was lost: out of rotation in {part.noticed_ms / 1000:.1f} s, and back"
        part.ended = time.monotonic()

    def gone(self) -> None:
        """All of cloud is gone at once."""
        with self._stage.step("the power of the whole cloud cluster fails") as step:
            by_probe = self._begun("gone, by probe", PROBED_WITHIN_MS)
            by_lease = self._begun("gone, by lease", MISSED_WITHIN_MS)
            killing = cut_power(self._fleet, self._cloud)
            by_probe.cut.append(killing)
            by_lease.cut.append(killing)
            self._noticed(by_probe, "edge finds cloud's gateway dead", lambda: self._probed() == {False})
            self._noticed(by_lease, "cloud is out at edge", lambda: self._exporter() == "out")
            self._loads.go_on(_A_WHILE)
            wait_answered(self._loads, self._onprem)
            probe, lease = by_probe.noticed_ms / 1000, by_lease.noticed_ms / 1000
            step.says = f"cloud is gone: out of rotation in {probe:.1f} s by probe, {lease:.1f} s by lease"
        by_probe.ended = by_lease.ended = time.monotonic()

    def _begun(self, name: str, limit_ms: float) -> _Part:
        part = _Part(name, limit_ms, time.monotonic())
        self.parts.append(part)
        return part

    def _noticed(self, part: _Part, what: str, true: Callable[[], bool]) -> None:
        self._settle(what, true)
        part.noticed_ms = round(1000 * (time.monotonic() - part.began), 1)

    def _settle(self, what: str, true: Callable[[], bool]) -> None:
        self._loads.wait(what, true, _SETTLED_WITHIN)

    def _exporter(self) -> str:
        return str(seen.exporter(self._fleet, self._edge, self._cloud).get("state"))

    def _probed(self) -> set[bool]:
        return seen.probed(self._fleet, self._edge, self._cloud)


def show_partition(fleet: Fleet, stage: Stage, report: Report) -> None:
    """Each cut by itself."""
    onprem, cloud, edge = raise_three(fleet, stage)
    with load(fleet, stage, report, [(edge, cloud)], new=60.0) as loads:
        wait_answered(loads, cloud)
        loads.go_on(_A_WHILE)
        show = _Show(fleet, stage, loads, (onprem, cloud, edge))
        show.control(cloud, "held", "connected")
        if isinstance(fleet.world.hub, Host):
            show.control(edge, "unknown", "connected")
            show.data("what edge and cloud send to each other", (edge, cloud), (cloud, edge))
            show.data("what edge sends to cloud", (edge, cloud))
            show.data("what cloud sends to edge", (cloud, edge))
        else:
            stage.note("on loopback there are no links to cut: data links and one-way loss are left out")
        show.gone()
        loads.until_enough()
    _judge(report, loads, show.parts)


def _judge(report: Report, loads: Loads, parts: list[_Part]) -> None:
    figures: dict[str, dict[str, float]] = {}
    for part in parts:
        failed = part.failed(loads)
        figures[part.name] = {"calls_failed": failed, "noticed_ms": part.noticed_ms}
        if failed:
            report.problems.append(f"{part.name}: {failed} calls failed, and none should have")
        if part.noticed_ms > part.limit_ms:
            took, limit = part.noticed_ms / 1000, part.limit_ms / 1000
            report.problems.append(f"{part.name}: noticed after {took:.1f} s, want {limit:g} s at most")
    report.figures["parts"] = figures


@contextmanager
def unheard(fleet: Fleet, site: Site) -> Iterator[None]:
    """The hub and *site*'s agent hear nothing of each other until the block is left."""
    hub = fleet.world.hub
    with ExitStack() as stack:
        if isinstance(hub, Host):
            stack.enter_context(_lost(site.gateway, (fleet.world.hub_address,)))
            stack.enter_context(_lost(hub, site.underlay))
        else:
            stack.enter_context(fleet.running(f"{site.cluster}-agent").frozen())
        yield


@contextmanager
def _lost(sender: Machine, receivers: tuple[str, ...]) -> Iterator[None]:
    """What *sender* sends to the addresses of *receivers* is lost until the block is left."""
    if not isinstance(sender, Host):
        raise TypeError(f"{sender} has no link of its own")
    for address in receivers:
        sender.lose("underlay", address)
    try:
        yield
    finally:
        for address in receivers:
            sender.find("underlay", address)
