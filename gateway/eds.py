"""Load assignments: where a service, a member's gateways and a local service's endpoints are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from envoy.config.core.v3.address_pb2 import Address, EnvoyInternalAddress
from envoy.config.core.v3.base_pb2 import Locality, Metadata
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.struct_pb2 import Struct

from clusters.model import GatewayRecord, Member
from clusters.names import ClusterName
from gateway import names
from gateway.messages import socket_address
from gateway.view import Way, way

_ONE_IN_HUNDRED: Final = 10_000


def one_tunnel(_: Member) -> int:
    """A connection that is carried as bytes has one tunnel, to itself."""
    return 1


def service(
    name: str,
    authority: str,
    providers: Sequence[Member],
    weights: Mapping[ClusterName, int],
    tunnels: Callable[[Member], int] = one_tunnel,
) -> ClusterLoadAssignment:
    """Reach *authority* through the gateways of *providers*, the first of them first.

    An endpoint for each of the *tunnels* to a cluster. Those with a weight share the first priority by it,
    and have equally many, so that weights alone count; each other has a priority of its own: 0, 1, 2…, as
    Envoy's API asks for priorities without a gap. Nobody to ask makes an empty assignment, which refuses at
    once.
    """
    assignment = ClusterLoadAssignment(cluster_name=name)
    shared = [member for member in providers if weights.get(member.name)]
    alone = [member for member in providers if member not in shared]
    equally = max((tunnels(member) for member in shared), default=1)
    ranked = [(0, equally, member) for member in shared]
    ranked += [(place, tunnels(m), m) for place, m in enumerate(alone, start=1 if shared else 0)]
    for priority, count, member in ranked:
        behind = _behind(member, authority, way(member, providers))
        endpoints = [LbEndpoint(endpoint=_tunnel(member, n), metadata=behind) for n in range(count)]
        for endpoint in endpoints if member in shared else ():
            endpoint.load_balancing_weight.value = weights[member.name]
        locality = Locality(sub_zone=member.name)
        assignment.endpoints.append(
            LocalityLbEndpoints(priority=priority, locality=locality, lb_endpoints=endpoints)
        )
    return assignment


def _tunnel(member: Member, number: int) -> Endpoint:
    """The internal listener. Its ID keeps the pools of clusters apart, and of several tunnels to one."""
    endpoint_id = f"{member.name}#{number}" if number else member.name
    inner = EnvoyInternalAddress(server_listener_name=names.TUNNEL, endpoint_id=endpoint_id)
    # A connection to an internal address always succeeds and a check of one always fails, so neither says
    # anything about the gateway behind it.
    no_check = Endpoint.HealthCheckConfig(disable_active_health_check=True)
    return Endpoint(address=Address(envoy_internal_address=inner), health_check_config=no_check)


def _behind(member: Member, authority: str, along: Way) -> Metadata:
    """Tell the tunnel where it leads, and whom to ask on the way."""
    told = Struct()
    told.update({"authority": authority, "way": names.way(along), "cluster": member.name})
    return Metadata(filter_metadata={names.TUNNEL_METADATA: told})


def gateways(member: Member) -> ClusterLoadAssignment:
    """The ingress gateways of *member*, each at its own locality."""
    assignment = ClusterLoadAssignment(cluster_name=names.gateway_cluster(member.name))
    # One gateway that lives is enough: by default others get a share as soon as two in seven are gone.
    assignment.policy.overprovisioning_factor.value = _ONE_IN_HUNDRED
    by_locality: dict[tuple[str, str], list[GatewayRecord]] = {}
    for record in sorted(member.gateways, key=lambda record: record.name):
        by_locality.setdefault((record.locality.region, record.locality.zone), []).append(record)
    for (region, zone), records in sorted(by_locality.items()):
        addresses = [socket_address(address, r.port) for r in records for address in r.addresses]
        assignment.endpoints.append(
            LocalityLbEndpoints(
                locality=Locality(region=region, zone=zone),
                # Each address is probed by itself, so one that does not answer is not asked for a tunnel.
                lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address)) for address in addresses],
            )
        )
    return assignment


def local(name: str, addresses: Iterable[str], port: int) -> ClusterLoadAssignment:
    """The endpoints of a local service, all alike."""
    endpoints = [
        LbEndpoint(endpoint=Endpoint(address=socket_address(address, port)))
        for address in sorted(set(addresses))
    ]
    assignment = ClusterLoadAssignment(cluster_name=name)
    if endpoints:
        assignment.endpoints.append(LocalityLbEndpoints(lb_endpoints=endpoints))
    return assignment
