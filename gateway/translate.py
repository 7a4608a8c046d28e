"""From a cluster's view to a gateway's snapshot: a pure function, made of one function for each service.

`translate` with the snapshot before it gives the same as without, only sooner: a service whose inputs are
the same keeps its part, so nothing depends on having been told what has changed.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from clusters.model import ClusterName, ClusterView, Import, LocalService, Member, ServiceName
from gateway import cds, eds, lds, names, rds, sds
from gateway.delta import Resource
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from gateway.messages import framed, resource
from gateway.snapshot import Part, Reference, Snapshot
from gateway.spec import Capture, GatewaySpec
from gateway.view import carried_ports, local_ports, providers, reachable, sources, vips_by_port
from pki.spiffe import trust_domain_of


def translate(view: ClusterView, spec: GatewaySpec, before: Snapshot | None = None) -> Snapshot:
    """All that the gateway *spec* needs to serve *view*.

    *before* is an earlier snapshot of the same gateway, from which what did not change is taken.
    """
    members = reachable(view.members.values())
    if before is not None and before.spec == spec and _same_surroundings(before.view, view):
        services = {
            name: before.services[name]
            if name in before.services and _same_service(before.view, view, name)
            else service(view, spec, members, name)
            for name in _named(view)
        }
    else:
        services = {name: service(view, spec, members, name) for name in _named(view)}
    shared = _shared(view, spec, members, services)
    if before is not None and shared == before.shared:
        shared = before.shared
    return Snapshot(spec, view, shared, services)


def service(
    view: ClusterView, spec: GatewaySpec, members: Mapping[ClusterName, Member], name: ServiceName
) -> Part:
    """What service *name* alone adds to the gateway."""
    imported, offered = view.imports.get(name), view.offer.services.get(name)
    called = _called(view, members, imported) if spec.is_egress and imported else Part()
    served = _served(offered) if spec.is_ingress and offered else Part()
    return Part(called.resources + served.resources, served.routes, called.references + served.references)


def _named(view: ClusterView) -> Iterable[ServiceName]:
    """Every service there is something to do for."""
    return sorted(view.imports.keys() | view.offer.services.keys())


def _same_surroundings(before: ClusterView, after: ClusterView) -> bool:
    """Whether what each service's part is made of beside the service itself is the same."""
    return (
        before.home == after.home
        and before.vip_ranges == after.vip_ranges
        and (before.members is after.members or before.members == after.members)
    )


def _same_service(before: ClusterView, after: ClusterView, name: ServiceName) -> bool:
    return before.imports.get(name) == after.imports.get(name) and before.offer.services.get(
        name
    ) == after.offer.services.get(name)


def _called(view: ClusterView, members: Mapping[ClusterName, Member], imported: Import) -> Part:
    """Egress: the service as called, on each of its VIPs and ports."""
    made: list[tuple[str, Resource]] = []
    references: list[Reference] = []
    for port in carried_ports(imported):
        asked = providers(imported, members, view.home, port)
        for address in view.vips(imported):
            name = names.vip_cluster(address, port)
            made.append((CLUSTER, resource(name, cds.vip(name))))
            assignment = eds.service(name, imported.service.authority(port), asked)
            made.append((ENDPOINT, resource(name, assignment)))
            references.append(Reference(ENDPOINT, name, name))
            references.extend(
                Reference(CLUSTER, names.gateway_cluster(member.name), name) for member in asked
            )
    return Part(tuple(made), (), tuple(references))


def _served(offered: LocalService) -> Part:
    """Ingress: the local endpoints of the service, and who may call them."""
    made: list[tuple[str, Resource]] = []
    routes: list[bytes] = []
    references: list[Reference] = []
    for port, target in sorted(local_ports(offered).items()):
        name = names.local_cluster(offered.service, port)
        authority = offered.service.authority(port)
        made.append((CLUSTER, resource(name, cds.local(name))))
        made.append((ENDPOINT, resource(name, eds.local(name, offered.endpoints, target))))
        routes.append(rds.serialized(rds.virtual_host(authority, name, offered.allow)))
        references += [Reference(ENDPOINT, name, name), Reference(CLUSTER, name, authority)]
    return Part(tuple(made), tuple(routes), tuple(references))


def _shared(
    view: ClusterView,
    spec: GatewaySpec,
    members: Mapping[ClusterName, Member],
    services: Mapping[ServiceName, Part],
) -> Part:
    """What belongs to no service: listeners, the members' gateways and anchors, the table of routes."""
    made: list[tuple[str, Resource]] = []
    references: list[Reference] = []
    if spec.is_egress:
        home = trust_domain_of(view.home, view.federation.domain)
        made += [(LISTENER, listener) for listener in _egress_listeners(view, spec)]
        made.append((LISTENER, resource(names.TUNNEL, lds.tunnel())))
        for member in members.values():
            name = names.gateway_cluster(member.name)
            made.append((CLUSTER, resource(name, cds.gateways(member, home))))
            made.append((ENDPOINT, resource(name, eds.gateways(member))))
            references.append(Reference(ENDPOINT, name, name))
            references.append(Reference(SECRET, names.anchors(member.name), name))
    known = [member for _, member in sorted(view.members.items()) if member.anchors]
    if spec.is_ingress and known:  # Envoy takes no listener without a filter chain
        made.append((LISTENER, resource(names.INGRESS, lds.ingress(spec, known))))
        routes = [route for part in services.values() for route in part.routes]
        table = rds.table([*routes, rds.serialized(rds.unknown())])
        made.append((ROUTE, framed(names.INGRESS, table)))
        references.append(Reference(ROUTE, names.INGRESS, names.INGRESS))
        references += [Reference(SECRET, names.anchors(m.name), names.INGRESS) for m in known]
    made += [(SECRET, sds.anchors(member)) for member in known]
    return Part(tuple(made), (), tuple(references))


def _egress_listeners(view: ClusterView, spec: GatewaySpec) -> Iterable[Resource]:
    """One for each port number; where VIPs are bound one by one, one for each VIP and port."""
    callers = lds.callers(sources(view.offer))
    wildcards = lds.wildcards(ip_network(block.cidr).version for block in view.vip_ranges)
    for port, vips in vips_by_port(view).items():
        if spec.capture is Capture.ANYIP:
            if spec.is_ingress and port == spec.ingress_port:
                continue  # whoever exports such a port must not take ours away
            name = names.egress_listener(port)
            yield resource(name, lds.egress(name, wildcards, port, vips, callers))
            continue
        for vip in vips:
            name = names.vip_cluster(vip, port)
            yield resource(name, lds.egress(name, [vip], port, [vip], callers))
