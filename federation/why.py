"""Why a cluster has a service, or has it not: step by step, from what the hub knows in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal

from clusters.carriage import carriage
from clusters.model import Import, VipRange, vips_in
from clusters.names import ClusterName, ServiceName
from clusters.services import Port
from federation.audit import shown
from federation.errors import NotFound
from federation.probing import Probing
from federation.registry.clusterset import Clusterset
from federation.registry.judge import BY_DEFAULT, Ruling
from federation.registry.outlook import exporters_for, import_for
from federation.registry.records import ExportRecord

_CLOSE: Final = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that has to hold, and whether it does: `yes`, `no`, or a `note` that settles nothing.

    *about* is the cluster that it is about; empty for the service as a whole.
    """

    step: str
    holds: Literal["yes", "no", "note"]
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether *home* has the service, from whom, and why."""

    service: ServiceName
    home: ClusterName
    imported: Import | None
    vips: tuple[str, ...]
    steps: tuple[Step, ...]

    def document(self) -> dict[str, object]:
        """The form in which the admin API gives it."""
        offerings = self.imported.offerings if self.imported else ()
        return {
            "service": str(self.service),
            "dns_name": self.service.dns_name,
            "from": self.home,
            "visible": self.imported is not None,
            "clusters": [offering.cluster for offering in offerings],
            "vips": list(self.vips),
            "conflict": self.imported.conflict if self.imported else "",
            "steps": list(self.steps),
        }


def explain(
    known: Clusterset, probing: Probing, service: ServiceName, home: ClusterName, ranges: Iterable[VipRange]
) -> Explanation:
    """Explain how *home* sees *service*; `NotFound` when no member has ever said that it has it."""
    said = {name: record for name in known.clusters if (record := known.exported(name, service))}
    if not said:
        every = {str(each) for name in known.clusters for each in known.exports(name)}
        raise NotFound("service", str(service), get_close_matches(str(service), every, _CLOSE))
    imported = import_for(known, home, service)
    steps = [
        *_exported(known, said, service, home),
        *_merged(imported, home, exporters_for(known, home, service)),
    ]
    if imported:
        for offering in imported.offerings:
            steps += _reached(known, probing, offering.cluster, home, offering.ready_endpoints)
        text = (
            "each cluster's ingress knows whom its own `allow` lets in: `fedgate services show` at its agent"
        )
        steps.append(Step("allowed", "note", text))
    return Explanation(service, home, imported, vips_in(ranges, imported) if imported else (), tuple(steps))


def _exported(
    known: Clusterset, said: dict[ClusterName, ExportRecord], service: ServiceName, home: ClusterName
) -> Iterator[Step]:
    """Who exports it, and whether that is for *home*."""
    judge = known.judge
    for name, record in sorted(said.items(), key=lambda item: (item[1].first_exported_at, item[0])):
        ports, ready = ", ".join(map(_port, record.export.ports)), record.export.ready_endpoints
        text = f"{name} exports {ports} since {shown(record.first_exported_at)}, {ready} ready"
        yield Step("exported", "yes", text, name)
        ruling = judge.export(name, service)
        yield _ruled("granted", ruling, f"{name} may export it", name)
        if ruling and home != name:
            yield _ruled("meant", judge.passes(name, service, home), f"that is for {home}", name)
    if any(name != home for name in said):
        yield _ruled("importable", judge.import_(home, service), f"{home} may import it", home)


def _ruled(step: str, ruling: Ruling, text: str, about: str) -> Step:
    by = "by default" if ruling.by == BY_DEFAULT else f"by grant {ruling.by}"
    return Step(step, "yes" if ruling else "no", f"{text}, {by}" if ruling else ruling.reason, about)


def _merged(imported: Import | None, home: ClusterName, exporters: frozenset[ClusterName]) -> Iterator[Step]:
    if imported is None:
        yield Step("merged", "no", f"nothing of it is for {home}")
        return
    ports = ", ".join(
        f"{_port(port)} ({carriage(port, passthrough=imported.passthrough)})" for port in imported.ports
    )
    sources, policy = ", ".join(sorted(exporters)), imported.policy
    yield Step("merged", "yes", f"{home} has it of {sources}: {ports}; {policy}")
    if imported.conflict:
        yield Step("merged", "note", imported.conflict)


def _reached(
    known: Clusterset, probing: Probing, name: ClusterName, home: ClusterName, ready: int
) -> Iterator[Step]:
    """Whether *home* can call what *name* has of it."""
    if not ready:
        yield Step("reachable", "no", f"{name} has no endpoint that is ready", name)
    member = known.member(name)
    if member is None or not member.gateways:
        refused = [
            ruling.reason
            for gateway in known.gateways(name).values()
            for address in gateway.addresses
            if not (ruling := known.judge.address(name, address))
        ]
        yield Step(
            "reachable", "no", f"{name} has no gateways: {'; '.join(refused) or 'it names none'}", name
        )
        return
    if not known.connected(name):
        yield Step(
            "reachable", "note", f"{name} is not connected to the hub: this is what it said last", name
        )
    if name == home:
        return
    seen = [each for each in probing.of(name) if each.by == home]
    up = sum(each.probe.up for each in seen)
    places = ", ".join(address for gateway in member.gateways for address in gateway.addresses)
    if not seen:
        yield Step("reachable", "note", f"{home} has not said whether it reaches {name} at {places}", name)
        return
    for each in seen:
        if not each.probe.up:
            text = f"{home}'s {each.gateway} does not reach {each.probe.address}: {each.probe.reason}"
            yield Step("reachable", "note" if up else "no", text, name)
    if up:
        yield Step("reachable", "yes", f"{home} reaches {name}: {up} of {len(seen)} probes are up", name)


def _port(port: Port) -> str:
    named = f"{port.name}:" if port.name else ""
    return f"{named}{port.number}/{port.protocol}"
