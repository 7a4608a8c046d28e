"""Many exports of one service become one import, by KEP-1645's rules: pure.

Ports are the union of what the exporters have. Where two disagree on a port, the export that the
hub has known for longest wins, and the import says so; so it is with the policy for traffic, but each
cluster's weight is its own. Where they disagree on passthrough, whoever asks for it does, as what is
carried unseen always works. The order in which exports are given does not matter.
"""

from collections.abc import Mapping, Sequence

from clusters.model import Import, Offering
from clusters.names import ClusterName, ServiceName
from clusters.services import Port, Protocol, Traffic, TrafficPolicy
from federation.registry.records import ExportRecord

CONFLICTS_SHOWN = 3


def merge(service: ServiceName, index: int, exports: Mapping[ClusterName, ExportRecord]) -> Import | None:
    """The import of *service*, or `None` when nobody exports it."""
    if not exports:
        return None
    oldest_first = sorted(exports, key=lambda cluster: (exports[cluster].first_exported_at, cluster))
    claims = [(cluster, port) for cluster in oldest_first for port in _ports(exports[cluster])]
    ports, conflicts = _union(claims)
    policy, against = _policy([(cluster, exports[cluster].export.traffic) for cluster in oldest_first])
    offerings = tuple(_offering(cluster, exports[cluster], ports) for cluster in sorted(exports))
    asking = [cluster for cluster in oldest_first if exports[cluster].export.passthrough]
    told = filter(None, [_one_line(conflicts + against), _half_hearted(oldest_first, asking)])
    return Import(service, index, ports, offerings, "; ".join(told), policy, passthrough=bool(asking))


def _union(claims: Sequence[tuple[ClusterName, Port]]) -> tuple[tuple[Port, ...], list[str]]:
    """Take each claimed port unless an earlier claim has its number or its name; say who disagrees."""
    by_number: dict[tuple[int, Protocol], tuple[ClusterName, Port]] = {}
    by_name: dict[str, tuple[ClusterName, Port]] = {}
    conflicts: list[str] = []
    for claim in claims:
        cluster, port = claim
        earlier = by_number.get(_number(port)) or by_name.get(port.name)
        if earlier is None:
            by_number[_number(port)] = by_name[port.name] = claim
        elif earlier[1] != port:
            conflicts.append(f"{earlier[0]} has {_shown(earlier[1])}, {cluster} has {_shown(port)}")
    return tuple(by_number[number][1] for number in sorted(by_number)), conflicts


def _half_hearted(exporters: Sequence[ClusterName], asking: Sequence[ClusterName]) -> str:
    """What to say when some *exporters* are *asking* for passthrough and others are not."""
    others = [cluster for cluster in exporters if cluster not in asking]
    if not asking or not others:
        return ""
    return f"passthrough for all: {asking[0]} asks for it, {others[0]} does not"


def _policy(said: Sequence[tuple[ClusterName, Traffic]]) -> tuple[TrafficPolicy, list[str]]:
    """The policy of the first, and who says otherwise."""
    oldest, first = said[0]
    others = [(cluster, traffic.policy) for cluster, traffic in said if traffic.policy is not first.policy]
    return first.policy, [
        f"{oldest} wants {first.policy}, {cluster} wants {other}" for cluster, other in others
    ]


def _offering(cluster: ClusterName, record: ExportRecord, ports: tuple[Port, ...]) -> Offering:
    """What *cluster* has of the import's *ports*, in the import's own words for them."""
    numbers = {_number(port) for port in record.export.ports}
    offered = tuple(port for port in ports if _number(port) in numbers)
    export = record.export
    return Offering(cluster, offered, export.ready_endpoints, export.traffic.weight, export.staleness)


def _ports(record: ExportRecord) -> list[Port]:
    """The ports of an export in one order, whatever order they were said in."""
    return sorted(record.export.ports, key=lambda port: (*_number(port), port.name, port.app_protocol or ""))


def _number(port: Port) -> tuple[int, Protocol]:
    """What tells ports apart on the wire."""
    return port.number, port.protocol


def _shown(port: Port) -> str:
    name = f"{port.name}:" if port.name else ""
    application = f" ({port.app_protocol})" if port.app_protocol else ""
    return f"{name}{port.number}/{port.protocol}{application}"


def _one_line(conflicts: list[str]) -> str:
    if not conflicts:
        return ""
    shown = "; ".join(conflicts[:CONFLICTS_SHOWN])
    rest = len(conflicts) - CONFLICTS_SHOWN
    more = f"; and {rest} more" if rest > 0 else ""
    return f"exporters disagree, the oldest wins: {shown}{more}"
