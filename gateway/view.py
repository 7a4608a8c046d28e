"""What a gateway needs to know of a cluster's view: who calls, what can be called, and where it is.

The stage between `ClusterView` and a snapshot. Everything here is a question about one view, asked in
one place, so that translation, the secrets that the agent mints and the checks that it reports agree.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from clusters.carriage import Carriage, carriage
from clusters.model import ClusterView, Import, Locality, Member, Offer, Workload
from clusters.names import ClusterName
from clusters.revoked import ids
from clusters.services import CallerPattern, LocalService, Protocol, TrafficPolicy
from pki.spiffe import trust_domain_of


def sources(offer: Offer) -> dict[str, Workload]:
    """Whose each address is: an address that two workloads claim is nobody's."""
    claims = _claims(offer)
    return {address: claimants[0] for address, claimants in claims.items() if len(claimants) == 1}


def contested(offer: Offer) -> dict[str, tuple[Workload, ...]]:
    """The addresses that more than one workload claims, and which ones do."""
    return {address: tuple(claimants) for address, claimants in _claims(offer).items() if len(claimants) > 1}


def _claims(offer: Offer) -> dict[str, list[Workload]]:
    """Each address with its claimants; the same workload twice is one claimant."""
    claims: dict[str, dict[tuple[str, str], Workload]] = {}
    for workload in offer.workloads:
        for address in workload.addresses:
            claims.setdefault(address, {})[workload.namespace, workload.name] = workload
    return {address: list(claimants.values()) for address, claimants in claims.items()}


def revoked(view: ClusterView) -> tuple[str, ...]:
    """The SPIFFE IDs of workloads that are nobody now; of its own the cluster knows better than the hub."""
    home = trust_domain_of(view.home, view.federation.domain)
    others = {m.trust_domain: m.revoked for m in view.members.values() if m.name != view.home and m.revoked}
    told = others | {home: view.offer.revoked}
    return tuple(sorted(str(each) for domain, workloads in told.items() for each in ids(domain, workloads)))


def reachable(members: Iterable[Member]) -> dict[ClusterName, Member]:
    """The members that can be called: they have gateways to dial, and anchors to know them by."""
    return {m.name: m for m in sorted(members, key=lambda m: m.name) if m.gateways and m.anchors}


def carried_ports(imported: Import) -> dict[int, Carriage]:
    """The port numbers on which *imported* can be called, in order, and how each is carried."""
    by_number = sorted(imported.ports, key=lambda port: port.number)
    carried = [(port.number, carriage(port, passthrough=imported.passthrough)) for port in by_number]
    return {number: how for number, how in carried if how is not Carriage.NONE}


def local_ports(service: LocalService) -> dict[int, int]:
    """The TCP ports of a local service, each with the port its endpoints listen on."""
    return {p.port.number: p.target for p in service.ports if p.port.protocol is Protocol.TCP}


def allowed(view: ClusterView, offered: LocalService) -> tuple[CallerPattern, ...] | None:
    """Who may call a service of this cluster: None for any workload of a member.

    Those are whom the service itself names, as far as their clusters may call it.
    """
    callers = view.callers.get(offered.service, view.callers_unsaid)
    if callers is None:
        return offered.allow or None
    domains = [trust_domain_of(cluster, view.federation.domain) for cluster in callers]
    if not offered.allow:
        return tuple(CallerPattern(f"spiffe://{domain}/*") for domain in domains)
    return tuple(
        pattern
        for pattern in offered.allow
        if any(pattern.literal.startswith(f"spiffe://{domain}/") for domain in domains)
    )


def providers(
    imported: Import, members: Mapping[ClusterName, Member], home: ClusterName, port: int
) -> list[Member]:
    """Who can be asked for *port* of *imported*, nearest first: home, its zone, its region, others by name.

    Where calls are shared out by weight, those that are to have none come last.
    """
    ready = {o.cluster for o in imported.offerings_at(port) if o.ready_endpoints > 0 and o.cluster in members}
    here = locality(members[home]) if home in members else Locality()
    shared = weights(imported)

    def distance(cluster: ClusterName) -> tuple[bool, bool, bool, bool, str]:
        there = locality(members[cluster])
        same_region = bool(here.region) and there.region == here.region
        same_zone = same_region and bool(here.zone) and there.zone == here.zone
        return shared.get(cluster) == 0, cluster != home, not same_region, not same_zone, cluster

    return [members[cluster] for cluster in sorted(ready, key=distance)]


def weights(imported: Import) -> dict[ClusterName, int]:
    """The share of calls that each cluster is to have; empty where the nearest that takes them has all."""
    if imported.policy is not TrafficPolicy.WEIGHTED:
        return {}
    return {offering.cluster: offering.weight for offering in imported.offerings}


def locality(member: Member) -> Locality:
    """Where *member* is, by what its gateways say: the first region if they differ, and no zone then."""
    region = min((g.locality.region for g in member.gateways if g.locality.region), default="")
    zones = {g.locality.zone for g in member.gateways if g.locality.region == region}
    return Locality(region, zones.pop() if len(zones) == 1 else "")


def localities(members: Mapping[ClusterName, Member]) -> dict[ClusterName, Locality]:
    """Where each of *members* is: all of them that a service's order of preference depends on."""
    return {name: locality(member) for name, member in members.items()}


# A tunnel that was refused by so many clusters is not asked for anywhere else.
_LONGEST_WAY: Final = 3

Way: TypeAlias = tuple[ClusterName, ...]


def way(first: Member, asked: Sequence[Member]) -> Way:
    """The clusters to ask in turn for a tunnel: *first*, then as many of *asked* as make sense."""
    others = [member.name for member in asked if member is not first]
    return (first.name, *others[: _LONGEST_WAY - 1])


def vips_by_port(view: ClusterView) -> dict[int, dict[str, Carriage]]:
    """For each port number that some service has: the VIPs that may be called on it, and how."""
    table: dict[int, dict[str, Carriage]] = {}
    for imported in view.imports.values():
        for port, how in carried_ports(imported).items():
            table.setdefault(port, {}).update(dict.fromkeys(view.vips(imported), how))
    return {port: dict(sorted(vips.items())) for port, vips in sorted(table.items())}


# A caller may put all of its requests on one connection; so many ways lead on from it at most.
_MOST_TUNNELS: Final = 4


def tunnels(imported: Import, port: int, member: Member) -> int:
    """How many tunnels to *member* the requests to *port* are spread over.

    Whatever is in one tunnel goes to one gateway and one endpoint, so there are as many as these.
    """
    ready = sum(o.ready_endpoints for o in imported.offerings_at(port) if o.cluster == member.name)
    return max(1, min(_MOST_TUNNELS, max(ready, len(member.gateways))))
