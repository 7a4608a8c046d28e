"""What one cluster sees of the set, and what it is told of its own: functions of all that is known."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from clusters.model import Import
from clusters.names import ClusterName, ServiceName
from clusters.verdict import UNSAID, Published, Verdict
from federation.registry.clusterset import Clusterset
from federation.registry.merge import merge


def exporters_for(known: Clusterset, home: ClusterName, service: ServiceName) -> frozenset[ClusterName]:
    """Those whose exports of *service* are for *home*."""
    exporters, judge = known.exporters(service), known.judge
    if not judge.restricts_callers:
        return frozenset(exporters)
    return frozenset(name for name in exporters if judge.sees(home, name, service))


def import_of(
    known: Clusterset, service: ServiceName, exporters: Collection[ClusterName], home: ClusterName
) -> Import | None:
    """*service*, merged over *exporters* alone, for *home*; None if none of them exports it.

    An exporter is told of all conflicts, also with those whose exports are not for it.
    """
    index, exports = known.index(service), known.exporters(service)
    chosen = {name: exports[name] for name in exports if name in exporters}
    imported = merge(service, index, chosen) if index else None
    if imported is None or len(chosen) == len(exports) or home not in chosen:
        return imported
    whole = known.import_(service)
    return replace(imported, conflict=whole.conflict) if whole else imported


def import_for(known: Clusterset, home: ClusterName, service: ServiceName) -> Import | None:
    """*service* as *home* is to have it; None if it is to have none of it."""
    return import_of(known, service, exporters_for(known, home, service), home)


def imports_for(known: Clusterset, home: ClusterName) -> Iterator[Import]:
    """All services that *home* is to have, by name."""
    for service in known.services:
        if imported := import_for(known, home, service):
            yield imported


def verdict(known: Clusterset, home: ClusterName, of: Published, name: str) -> Verdict | None:
    """What is to be said to *home* of a service or gateway that it has published; None if nothing is."""
    if known.record(home) is None:
        return None
    if of is Published.GATEWAY:
        return _of_gateway(known, home, name)
    if not known.judge.restricts_callers:
        return None
    if name == UNSAID:
        return Verdict(of, name, callers=())
    service = ServiceName.parse(name)
    if known.exported(home, service) is None:
        return None
    if not known.judge.rule(home, service).granted:
        return Verdict(of, name, known.judge.export(home, service).reason, ())
    callers = known.judge.audience(home, service)
    return Verdict(of, name, callers=None if callers is None else tuple(sorted(callers)))


def verdicts(known: Clusterset, home: ClusterName) -> Iterator[Verdict]:
    """All that is to be said to *home* of what it has published."""
    published = [(Published.GATEWAY, name) for name in known.gateways(home)]
    if known.judge.restricts_callers:
        published += [(Published.SERVICE, str(name)) for name in (UNSAID, *known.exports(home))]
    for of, name in published:
        if said := verdict(known, home, of, name):
            yield said


def _of_gateway(known: Clusterset, home: ClusterName, name: str) -> Verdict | None:
    gateway = known.gateways(home).get(name)
    if gateway is None:
        return None
    rulings = [known.judge.address(home, address) for address in gateway.addresses]
    reasons = [ruling.reason for ruling in rulings if not ruling]
    return Verdict(Published.GATEWAY, name, "; ".join(reasons)) if reasons else None
