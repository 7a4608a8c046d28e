"""From a changed source file to the answer of the other cluster's Envoy, with the time of each stage.

Hub, agents and gateways are the real commands, on hosts of their own. A service of `onprem` loses its only
endpoint, and has it back, and so on; the gateway of `cloud` has been asked for that service before. The many
other services are `onprem`'s own, in the same file, or they are `cloud`'s, and the changed file is short.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Final

import yaml

from bench import measure, traced
from bench.report import Aim, Key, Report
from bench.stores import etcd_alone, on_etcd
from federation.client import Admin, endpoint
from federation.demo.fleet import Fleet, environment
from federation.demo.machines import Machine
from federation.demo.process import Process
from federation.demo.topology import Lab
from federation.demo.world import Site, World, in_namespaces
from federation.errors import FederationError, StepFailed

TOPIC: Final = "source file changed → remote Envoy's ACK"
_CHANGED: Final = "changed"
_SHORT: Final = 20
_PATIENCE: Final = 120.0
_ETCD: Final = (2379, 2380)  # its ports, on the hub's host


async def measure_changes(report: Report, rounds: int, quick: bool) -> None:
    """Measure with 1,000 and 10,000 services, in a long file and in a short one, on SQLite and etcd."""
    for services in (1_000,) if quick else (1_000, 10_000):
        for long, store in ((False, "SQLite"), (True, "SQLite"), (False, "etcd")):
            await asyncio.to_thread(_measure, report, services, long, store, 10 if quick else 20 * rounds)
    _aim(report)


def _way(services: int, long: bool, store: str = "SQLite") -> str:
    told = f"{services:,} services, {'nearly all' if long else _SHORT} in the file"
    return told if store == "SQLite" else f"{told}, {store}"


def _aim(report: Report) -> None:
    for long in (False, True):
        way = _way(10_000, long)
        for what, most in (("p50", 10.0), ("p99", 50.0)):
            report.aims.append(Aim(f"change → ACK, {way}: {what}", Key(TOPIC, way, what, "ms"), most))


class TracedFleet(Fleet):
    """The demo's programs, of which hub and agents note the time of each stage in *trace*."""

    def __init__(self, world: World, folder: Path) -> None:
        super().__init__(world, folder)
        self.trace = folder / "trace"
        self.trace.touch()

    def _fedgate(self, name: str, machine: Machine, words: Sequence[str]) -> Process:
        if words[0] not in ("hub", "join"):
            return super()._fedgate(name, machine, words)
        return self.start(name, machine, [sys.executable, "-P", traced.__file__, str(self.trace), *words])


def _measure(report: Report, services: int, long: bool, store: str, times: int) -> None:
    report.loads.append(measure.load())
    with tempfile.TemporaryDirectory(prefix="fb") as name, Lab(Path(name)) as lab:
        fleet = TracedFleet(in_namespaces(lab), Path(name) / "f")
        if store == "etcd":
            fleet.start("etcd", fleet.world.hub, etcd_alone(fleet.folder / "etcd", *_ETCD))
            fleet.hub_options += on_etcd(fleet.folder, _ETCD[0])
        fleet.start_hub()
        near, far = fleet.world.sites
        agents = [fleet.join(site, fleet.make_token(site)) for site in (near, far)]
        listed = services - 1 if long else _SHORT
        source = Source(fleet, near, [_CHANGED, *(f"service-{n}" for n in range(listed - 1))])
        source.write(ready=True)
        others = Source(fleet, far, [f"other-{n}" for n in range(services - listed)])
        others.write(ready=True)
        _wait_for_services(fleet, far, services, agents)
        near_gateway, _ = (fleet.start_gateway(*pair) for pair in zip((near, far), agents, strict=True))
        # From now on the gateway holds the service, and is told of its changes.
        name = f"http://{_CHANGED}.shop.svc.clusterset.local:8080/"
        far.caller.run(["curl", "-s", "-m", "3", name], check=False, environment=environment())
        seen = [_change(fleet, source, ready=bool(n % 2)) for n in range(times + 2)][2:]
        assert near_gateway.returncode is None
    _tell(report, _way(services, long, store), seen)


class Source:
    """The source file of a site with the services *names*, of which the first one changes."""

    def __init__(self, fleet: Fleet, site: Site, names: Sequence[str]) -> None:
        self._path = fleet.folder / f"{site.cluster}.yaml"
        self._services = [
            {
                "namespace": "shop",
                "name": name,
                "ports": [{"port": 8080, "name": "main"}],
                "endpoints": list(site.endpoints[:1]),
            }
            for name in names
        ]
        rest = {key: value for key, value in site.source().items() if key != "services"}
        self._rest = _dumped(rest)
        self._others = _dumped(self._services[1:])

    def write(self, *, ready: bool) -> int:
        """Write it anew, and put it in the place of the old one; gives the time of that."""
        changed = {**self._services[0], "endpoints": self._services[0]["endpoints"] if ready else []}
        new = self._path.with_suffix(".new")
        new.write_text(f"{self._rest}services:\n{_dumped([changed])}{self._others}")
        written = time.monotonic_ns()
        new.replace(self._path)
        return written


def _dumped(part: object) -> str:
    if part == []:
        return ""
    return str(yaml.dump(part, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=None, width=500))


def _change(fleet: TracedFleet, source: Source, *, ready: bool) -> dict[str, float]:
    """Change the file, and wait for the answer: how many milliseconds from then to each stage."""
    time.sleep(random.uniform(0.3, 0.6))  # noqa: S311  so that no rhythm is met, and what is under way ends
    with fleet.trace.open() as trace:
        trace.seek(0, 2)
        began = source.write(ready=ready)
        seen: dict[str, float] = {}
        line = ""
        deadline = time.monotonic() + _PATIENCE
        while "acked" not in seen:
            if time.monotonic() > deadline:
                raise StepFailed(f"waited in vain for the ACK; seen: {seen}", "")
            for part in trace:
                line += part
                if not line.endswith("\n"):
                    continue  # the rest of it comes next time
                at, stage = line.split()
                line = ""
                if stage == "acked" and "followed" not in seen:
                    continue
                seen.setdefault(stage, (int(at) - began) / 1e6)
            time.sleep(0.0005)
        return seen


def _wait_for_services(fleet: Fleet, site: Site, services: int, culprits: Sequence[Process]) -> None:
    """Wait until the agent of *site* knows all of them."""
    admin = Admin(endpoint("agent", str(fleet.agent_state(site))), 30)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        time.sleep(1)
        try:
            found = admin.get("/v1/services")["services"]
        except FederationError:
            continue
        if isinstance(found, list) and len(found) == services:
            return
        if any(process.returncode is not None for process in culprits):
            break
    raise StepFailed(f"{site.cluster}'s agent does not know {services} services", culprits[0].tail())


def _tell(report: Report, way: str, seen: Sequence[dict[str, float]]) -> None:
    """The whole, and the medians of the stages, each since the one before."""
    total = sorted(each["acked"] for each in seen)
    report.add(Key(TOPIC, way, "p50", "ms"), median(total))
    report.add(Key(TOPIC, way, "p99", "ms"), total[ceil(0.99 * len(total)) - 1])
    report.add(Key(TOPIC, way, "max", "ms"), total[-1])
    put = [each["acked"] - each["heard"] for each in seen if "heard" in each]
    report.add(Key(TOPIC, way, "from put, p50", "ms"), median(put))
    report.add(Key(TOPIC, way, "from put, max", "ms"), max(put))
    before = ""
    for stage in traced.STAGES:
        steps = [each[stage] - each.get(before, 0.0) for each in seen if stage in each]
        if steps:
            report.add(Key(TOPIC, way, f"to {stage}", "ms"), median(steps))
        before = stage
