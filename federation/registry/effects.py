"""What other grants would change of all that clusters have published, before anything is written."""

from collections.abc import Iterator
from dataclasses import dataclass

from clusters.names import ClusterName, ServiceName
from clusters.verdict import Published
from federation.registry.clusterset import Clusterset
from federation.registry.grants import Grants
from federation.registry.judge import Judge


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of a service, or a gateway's address: *lost* if somebody has it no more."""

    of: Published
    cluster: ClusterName
    name: str
    lost: bool
    now: str


def differences(before: Grants, after: Grants) -> Iterator[str]:
    """What is written otherwise in *after*: `grant shop added`, `default of exports is deny`."""
    for what in ("exports", "imports", "addresses"):
        if (now := getattr(after.defaults, what)) is not getattr(before.defaults, what):
            yield f"default of {what} is {now}"
    for what in ("services", "bytes", "changes_per_second"):
        if (limit := getattr(after.limits, what)) != getattr(before.limits, what):
            yield f"limit of {what.replace('_', ' ')} is {limit}"
    old, new = ({grant.name: grant for grant in each.grants} for each in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"grant {name} added"
        elif name not in new:
            yield f"grant {name} removed"
        elif old[name] != new[name]:
            yield f"grant {name} changed"


def effects(known: Clusterset, after: Judge) -> Iterator[Effect]:
    """What *after* would decide otherwise than is decided now, of all that is published now."""
    for name in known.clusters:
        for service in known.exports(name):
            if effect := _of_service(known, after, name, service):
                yield effect
        for gateway in known.gateways(name).values():
            for address in gateway.addresses:
                now = after.address(name, address)
                if now.granted is not known.judge.address(name, address).granted:
                    told = "granted" if now else now.reason
                    yield Effect(Published.GATEWAY, name, f"{gateway.name} {address}", not now, told)


def _of_service(
    known: Clusterset, after: Judge, exporter: ClusterName, service: ServiceName
) -> Effect | None:
    everybody = frozenset(known.clusters)
    told = _audience(known.judge, everybody, exporter, service)
    now = _audience(after, everybody, exporter, service)
    if now == told:
        return None
    ruling = after.export(exporter, service)
    shown = f"for {', '.join(sorted(now))}" if now != everybody else "for everybody"
    lost = bool(told - now)
    return Effect(Published.SERVICE, exporter, str(service), lost, shown if ruling else ruling.reason)


def _audience(
    judge: Judge, everybody: frozenset[ClusterName], exporter: ClusterName, service: ServiceName
) -> frozenset[ClusterName]:
    if not judge.export(exporter, service):
        return frozenset()
    told = judge.audience(exporter, service)
    return everybody if told is None else told & everybody
