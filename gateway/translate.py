"""From a cluster's view to a gateway's snapshot: a pure function, made of one function for each service.

`translate` with the snapshot before it gives the same as without, only sooner: a service whose inputs are
the same keeps its part, so nothing depends on having been told what has changed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import ip_address, ip_network

from clusters.carriage import Carriage
from clusters.changes import touched
from clusters.model import ClusterView, Import, Member
from clusters.names import ClusterName, ServiceName
from clusters.services import LocalService
from gateway import callers, cds, dial, eds, egress, forward, ingress, names, rds, sds
from gateway.delta import Resource
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from gateway.messages import framed, resource
from gateway.snapshot import Changes, Part, Reference, Snapshot, changes, differing
from gateway.spec import Capture, GatewaySpec
from gateway.view import (
    Way,
    allowed,
    carried_ports,
    local_ports,
    localities,
    providers,
    reachable,
    revoked,
    sources,
    tunnels,
    vips_by_port,
    way,
    weights,
)
from pki.spiffe import trust_domain_of


def translate(view: ClusterView, spec: GatewaySpec, before: Snapshot | None = None) -> Snapshot:
    """All that the gateway *spec* needs to serve *view*.

    *before* is an earlier snapshot of the same gateway, from which what did not change is taken.
    """
    return _translated(view, spec, _usable(before, view, spec))[0]


def advance(view: ClusterView, spec: GatewaySpec, before: Snapshot | None) -> tuple[Snapshot, Changes]:
    """The snapshot that `translate` gives, and what turns *before* into it: None is nothing at all."""
    snapshot, pairs = _translated(view, spec, _usable(before, view, spec))
    if before is not None and before.spec != spec:
        return snapshot, snapshot.changes_since(before)
    return snapshot, changes(pairs)


def _usable(before: Snapshot | None, view: ClusterView, spec: GatewaySpec) -> Snapshot:
    return before if before is not None and before.spec == spec else Snapshot.empty(spec, view)


def _translated(
    view: ClusterView, spec: GatewaySpec, before: Snapshot
) -> tuple[Snapshot, list[tuple[Part, Part]]]:
    """The snapshot, and the parts that are others than *before*, each beside what it was."""
    services, others = _services(view, spec, before)
    nothing = Part()
    changed = [(before.services.get(name, nothing), services.get(name, nothing)) for name in others]
    taken = _taken(before, changed)
    shared = {
        "members": _members(view, spec, before),
        "ways": _ways(view, taken, before),
        "capture": _capture(view, spec, before, changed),
        "routes": _routes(view, spec, services, before, changed),
        "callers": _callers(view, spec, before),
    }
    kept = {name: _kept(before.shared.get(name), part) for name, part in shared.items()}
    pairs = [*differing(before.shared, kept), *changed]
    return Snapshot(spec, view, kept, services, taken), pairs


def service(
    view: ClusterView, spec: GatewaySpec, members: Mapping[ClusterName, Member], name: ServiceName
) -> Part:
    """What service *name* alone adds to the gateway."""
    imported, offered = view.imports.get(name), view.offer.services.get(name)
    called = _called(view, members, imported) if spec.is_egress and imported else Part()
    served = _served(view, offered) if spec.is_ingress and offered else Part()
    resources, references = called.resources + served.resources, called.references + served.references
    return Part(resources, references, called.vips, served.routes, called.ways)


def _services(
    view: ClusterView, spec: GatewaySpec, before: Snapshot
) -> tuple[Mapping[ServiceName, Part], Iterable[ServiceName]]:
    """The part of each service, and which are others than before.

    A service has the part that it had, if nothing that it is made of has changed.
    """
    members = reachable(view.members.values())
    old = before.view
    same_for_all = (
        old.home == view.home
        and old.vip_ranges == view.vip_ranges
        and old.callers_unsaid == view.callers_unsaid
        and localities(reachable(old.members.values())) == localities(members)
    )
    if not same_for_all or not before.shared:
        everything = dict.fromkeys([*view.imports, *view.offer.services])
        made = {name: service(view, spec, members, name) for name in everything}
        return made, everything.keys() | before.services.keys()
    parts, others = dict(before.services), []
    changed = touched(old.imports, view.imports) | touched(old.offer.services, view.offer.services)
    for name in changed | touched(old.callers, view.callers):
        if name not in view.imports and name not in view.offer.services:
            parts.pop(name, None)
        elif name not in parts or not _same_service(old, view, name):
            parts[name] = service(view, spec, members, name)
        else:
            continue
        others.append(name)
    return parts, others


def _same_service(before: ClusterView, after: ClusterView, name: ServiceName) -> bool:
    """Whether the service is equal to what it was."""
    return (
        before.imports.get(name) == after.imports.get(name)
        and before.offer.services.get(name) == after.offer.services.get(name)
        and (name in before.callers) is (name in after.callers)
        and before.callers.get(name) == after.callers.get(name)
    )


def _kept(before: Part | None, after: Part) -> Part:
    """The part that was there, if it is equal: who compares finds out at once."""
    return before if before == after else after


def _called(view: ClusterView, members: Mapping[ClusterName, Member], imported: Import) -> Part:
    """Egress: the service as called, on each of its VIPs and ports."""
    made: list[tuple[str, Resource]] = []
    references: list[Reference] = []
    vips: list[tuple[int, str, Carriage]] = []
    taken: set[Way] = set()
    for port, how in carried_ports(imported).items():
        asked = providers(imported, members, view.home, port)
        spread = partial(tunnels, imported, port) if how is Carriage.L7 else eds.one_tunnel
        here = {way(member, asked) for member in asked}
        taken |= here
        for address in view.vips(imported):
            vips.append((port, address, how))
            name = names.vip_cluster(address, port)
            made.append((CLUSTER, resource(name, cds.vip(name, how))))
            authority = imported.service.authority(port)
            assignment = eds.service(name, authority, asked, weights(imported), spread)
            made.append((ENDPOINT, resource(name, assignment)))
            references.append(Reference(ENDPOINT, name, name))
            references.extend(Reference(CLUSTER, names.way(along), name) for along in sorted(here))
    return Part(tuple(made), tuple(references), tuple(vips), ways=frozenset(taken))


def _served(view: ClusterView, offered: LocalService) -> Part:
    """Ingress: the local endpoints of the service, and who may call them."""
    made: list[tuple[str, Resource]] = []
    routes: list[bytes] = []
    references: list[Reference] = []
    allow = allowed(view, offered)
    for port, target in sorted(local_ports(offered).items()):
        name = names.local_cluster(offered.service, port)
        authority = offered.service.authority(port)
        made.append((CLUSTER, resource(name, cds.local(name))))
        made.append((ENDPOINT, resource(name, eds.local(name, offered.ready, target))))
        routes.append(rds.serialized(rds.virtual_host(authority, name, allow)))
        references += [Reference(ENDPOINT, name, name), Reference(CLUSTER, name, authority)]
    return Part(tuple(made), tuple(references), (), tuple(routes))


def _members(view: ClusterView, spec: GatewaySpec, before: Snapshot) -> Part:
    """The other clusters: their anchors, their gateways to dial, a filter chain for each that dials us."""
    old = before.view
    if (
        "members" in before.shared
        and (old.home, old.federation) == (view.home, view.federation)
        and old.members == view.members
        and old.handed_on == view.handed_on
    ):
        return before.shared["members"]
    made: list[tuple[str, Resource]] = []
    references: list[Reference] = []
    known = [member for _, member in sorted(view.members.items()) if member.anchors]
    if spec.is_egress:
        home = trust_domain_of(view.home, view.federation.domain)
        made.append((LISTENER, resource(names.TUNNEL, egress.tunnel())))
        made.append((LISTENER, resource(names.FORWARD, forward.listener())))
        for member in reachable(known).values():
            name = names.gateway_cluster(member.name)
            made.append((CLUSTER, resource(name, dial.gateways(member, home, view.handed_on))))
            if not dial.has_names(member):
                made.append((ENDPOINT, resource(name, eds.gateways(member))))
                references.append(Reference(ENDPOINT, name, name))
            references.append(Reference(SECRET, names.anchors(member.name), name))
    if spec.is_ingress and known:  # Envoy takes no listener without a filter chain
        made.append((LISTENER, resource(names.INGRESS, ingress.listener(spec, known))))
        references.append(Reference(ROUTE, names.INGRESS, names.INGRESS))
        references += [Reference(SECRET, names.anchors(m.name), names.INGRESS) for m in known]
    made += [(SECRET, sds.anchors(member)) for member in known]
    return Part(tuple(made), tuple(references))


def _taken(before: Snapshot, changed: Iterable[tuple[Part, Part]]) -> Mapping[Way, int]:
    """How many services take each way, by what they took before."""
    taken = Counter(before.taken)
    for was, now in changed:
        taken.subtract(was.ways)
        taken.update(now.ways)
    return +taken


def _ways(view: ClusterView, taken: Mapping[Way, int], before: Snapshot) -> Part:
    """The ways through several clusters: as many as there are lists of clusters that offer something."""
    several = _several(view)
    if "ways" in before.shared and several == _several(before.view) and taken.keys() == before.taken.keys():
        return before.shared["ways"]
    made = {cluster.name: cluster for along in sorted(taken) for cluster in dial.ways(along, several)}
    references = {
        Reference(CLUSTER, names.gateway_cluster(cluster), names.way(along))
        for along in taken
        if len(along) > 1
        for cluster in along
    }
    resources = tuple((CLUSTER, resource(name, cluster)) for name, cluster in sorted(made.items()))
    return Part(resources, tuple(sorted(references)))


def _several(view: ClusterView) -> set[ClusterName]:
    """The clusters that have more than one gateway."""
    return {member.name for member in view.members.values() if len(member.gateways) > 1}


def _capture(
    view: ClusterView, spec: GatewaySpec, before: Snapshot, changed: Iterable[tuple[Part, Part]]
) -> Part:
    """The listeners of an egress; they change with who may call and with what there is to call."""
    old = before.view
    if (
        "capture" in before.shared
        and old.vip_ranges == view.vip_ranges
        and old.offer.workloads == view.offer.workloads
        and all(was.vips == now.vips for was, now in changed)
    ):
        return before.shared["capture"]
    listeners = _egress_listeners(view, spec) if spec.is_egress else ()
    made = tuple((LISTENER, listener) for listener in listeners)
    return Part(made, tuple(Reference(ROUTE, names.HTTP, listener.name) for _, listener in made))


def _egress_listeners(view: ClusterView, spec: GatewaySpec) -> Iterable[Resource]:
    """One for each port number; where VIPs are bound one by one, one for each VIP and port."""
    door = egress.door(sources(view.offer))
    if spec.capture is Capture.LOOPBACK:
        yield from _listeners_by_vip(view, spec, door)
        return
    families = {ip_network(block.cidr).version for block in view.vip_ranges}
    wildcards = egress.wildcards(families if spec.ipv6 else families & {4})
    if not wildcards:
        return
    redirects = spec.capture is Capture.REDIRECT
    if redirects:
        yield resource(names.CAPTURE, egress.capture(wildcards, spec.capture_port))
    ours = {spec.ingress_port} if spec.is_ingress else set()
    ours |= {spec.capture_port} if redirects else set()
    for port, vips in vips_by_port(view).items():
        if port in ours:  # whoever exports a port that we listen on must not take it away
            continue
        name = names.egress_listener(port)
        made = egress.listener(name, wildcards, port, vips, door)
        yield resource(name, egress.handed(made) if redirects else made)


def _listeners_by_vip(view: ClusterView, spec: GatewaySpec, door: egress.Door) -> Iterable[Resource]:
    for port, vips in vips_by_port(view).items():
        for vip, how in vips.items():
            if spec.ipv6 or ip_address(vip).version == 4:
                name = names.vip_cluster(vip, port)
                yield resource(name, egress.listener(name, [vip], port, {vip: how}, door))


def _callers(view: ClusterView, spec: GatewaySpec, before: Snapshot) -> Part:
    """The egress's table, by which a request is told whose it is; it changes with the workloads alone."""
    if not spec.is_egress:
        return Part()
    old = before.view
    same_names = (old.home, old.federation.domain) == (view.home, view.federation.domain)
    if "callers" in before.shared and same_names and old.offer.workloads == view.offer.workloads:
        return before.shared["callers"]
    domain = trust_domain_of(view.home, view.federation.domain)
    known = callers.known(sources(view.offer), domain, spec.name)
    return Part(((ROUTE, framed(names.HTTP, rds.table(callers.head(), known))),))


def _routes(
    view: ClusterView,
    spec: GatewaySpec,
    services: Mapping[ServiceName, Part],
    before: Snapshot,
    changed: Iterable[tuple[Part, Part]],
) -> Part:
    """The ingress's table, put together from what each service adds to it."""
    if not spec.is_ingress:
        return Part()
    gone = revoked(view)
    same = "routes" in before.shared and gone == revoked(before.view)
    if same and all(was.routes == now.routes for was, now in changed):
        return before.shared["routes"]
    by_name = sorted(services.items(), key=lambda item: (item[0].namespace, item[0].name))
    hosts = [route for _, part in by_name for route in part.routes]
    table = rds.table(rds.head(gone), [*hosts, rds.serialized(rds.unknown())])
    return Part(((ROUTE, framed(names.INGRESS, table)),))
