"""Clusters of gateways: each member's, and the ways that lead through several members in turn.

A tunnel fails over before its first byte: who refuses it (503: no endpoint is left there) or cannot be
reached is passed over in the same connect, and what the caller sends waits until one has agreed. A way has
no state of its own. Whether a *gateway* is alive is found out by probes, one per pair of gateways, and holds
for everybody; that a *service* is not to be had at a cluster costs each call one question there, and never
says anything about the gateway that answered it.
"""

from collections.abc import Sequence, Set
from datetime import datetime
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, EnvoyInternalAddress
from envoy.config.core.v3.base_pb2 import Metadata, TransportSocket
from envoy.config.core.v3.health_check_pb2 import HealthCheck
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.clusters.aggregate.v3.cluster_pb2 import ClusterConfig
from envoy.extensions.clusters.common.dns.v3.dns_pb2 import DnsLookupFamily
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.type.v3.http_pb2 import CodecClientType
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.any_pb2 import Any
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from clusters.model import Member
from clusters.names import ClusterName
from gateway import eds, names, tls
from gateway.cds import KEEPALIVE, UNBROKEN, internal_socket
from gateway.messages import ADS, AT_ONCE, HTTP_OPTIONS, packed, seconds, tunnel_protocol
from gateway.newer import composite
from gateway.rds import READY_PATH
from gateway.view import Way

# Of the TCP and TLS handshakes together: two round trips.
_CONNECT_TIMEOUT: Final = seconds(0.8)
_PROBE_INTERVAL: Final = seconds(0.5)
_PROBE_TIMEOUT: Final = seconds(1)
_RESOLVED: Final = DnsCluster(
    dns_refresh_rate=seconds(5),
    dns_failure_refresh_rate=DnsCluster.RefreshRate(base_interval=seconds(1), max_interval=seconds(5)),
    dns_lookup_family=DnsLookupFamily.ALL,
)

# A probe keeps new calls away from a gateway that is gone without a word; those that wait for it already
# are let go by these: two seconds at most, and one if nothing has come for a while.
_PING_INTERVAL: Final = seconds(0.75)
_PING_TIMEOUT: Final = seconds(1.2)

_PROBE: Final = Struct()
_PROBE.update({"probe": True})


def gateways(member: Member, home: str, handed_on: datetime | None = None) -> Cluster:
    """The ingress gateways of *member*, as dialled from the trust domain *home*.

    Connections are kept for each source address, and last longer than the address may be a workload's. So
    the cluster is another one, with connections of its own, from *handed_on*: when an address passed from
    one workload to another. Tunnels that are open stay on the connections of the cluster before it.

    There is one pool of HTTP/2 connections for each caller's identity. No outlier detection: a tunnel that
    was refused, for want of an endpoint or of a right, would be counted as if the gateway had failed. Where
    a gateway is known by name, Envoy resolves all of them; else they come over ADS.
    """
    cluster = _tunnelling(names.gateway_cluster(member.name), tunnel_protocol(_PING_INTERVAL, _PING_TIMEOUT))
    if has_names(member):
        cluster.cluster_type.name = "envoy.clusters.dns"
        cluster.cluster_type.typed_config.CopyFrom(packed(_RESOLVED))
        cluster.load_assignment.CopyFrom(eds.gateways(member))
    else:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.eds_config.CopyFrom(ADS)
    cluster.upstream_connection_options.CopyFrom(KEEPALIVE)
    cluster.lb_policy = (
        Cluster.RANDOM
    )  # in turn, every call would go to the same one of two: Envoy chooses twice
    cluster.transport_socket_matches.extend(
        [
            _match("probe", tls.probe(member, home), _PROBE),
            _match("call", tls.upstream(member, home), Struct()),
        ]
    )
    cluster.health_checks.append(_probe())
    if handed_on is not None:
        cluster.metadata.filter_metadata[names.TUNNEL_METADATA].update({"handed_on": handed_on.isoformat()})
    cluster.close_connections_on_host_health_failure = True
    # One that its cluster has taken back is asked for no new tunnel, though its probes go well.
    cluster.ignore_health_on_host_removal = True
    return cluster


def has_names(member: Member) -> bool:
    """Whether a gateway of *member* has to be resolved."""
    return any(record.has_names for record in member.gateways)


def ways(way: Way, several: Set[ClusterName]) -> list[Cluster]:
    """What leads a tunnel along *way*, beside the gateways of its clusters.

    The tunnel is handed to the listener that asks on its behalf. A composite cluster has an answer for each
    of its attempts: the first cluster that is alive, then the first of those behind it that is. One with
    *several* gateways is asked twice, as it may be only one of them that is gone.
    """
    if len(way) == 1:
        return []
    rests = [way[place:] for place in range(len(way))]
    attempts = [names.first_alive(rest) for rest in rests for _ in range(1 + (rest[0] in several))]
    return [
        _handed_on(way),
        _in_turn(way, attempts),
        *(_first_alive(rest) for rest in rests if len(rest) > 1),
    ]


def _handed_on(way: Way) -> Cluster:
    """The listener that asks the clusters of *way*, told so by the metadata of its only endpoint."""
    cluster = _tunnelling(names.way(way), tunnel_protocol())
    told = Struct()
    told.update({"way": names.in_turn(way)})
    address = EnvoyInternalAddress(server_listener_name=names.FORWARD, endpoint_id=cluster.name)
    endpoint = LbEndpoint(
        endpoint=Endpoint(address=Address(envoy_internal_address=address)),
        metadata=Metadata(filter_metadata={names.TUNNEL_METADATA: told}),
    )
    cluster.load_assignment.CopyFrom(
        ClusterLoadAssignment(
            cluster_name=cluster.name, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])]
        )
    )
    cluster.transport_socket.CopyFrom(internal_socket())
    return cluster


def _first_alive(way: Way) -> Cluster:
    parts = ClusterConfig(clusters=[names.gateway_cluster(cluster) for cluster in way])
    return _made_of("envoy.clusters.aggregate", names.first_alive(way), packed(parts))


def _in_turn(way: Way, parts: Sequence[str]) -> Cluster:
    return _made_of("envoy.clusters.composite", names.in_turn(way), composite(parts))


def _made_of(kind: str, name: str, config: Any) -> Cluster:
    """A cluster made of others, whose pools it uses.

    It must have the tunnel's protocol as well: Envoy crashes at the first tunnel that ends in one without.
    """
    cluster = _tunnelling(name, tunnel_protocol())
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED
    cluster.cluster_type.name = kind
    cluster.cluster_type.typed_config.CopyFrom(config)
    return cluster


def _tunnelling(name: str, protocol: Http2ProtocolOptions) -> Cluster:
    """A cluster that carries CONNECT in HTTP/2, and leaves out what is not alive, to the last."""
    cluster = Cluster(name=name, connect_timeout=_CONNECT_TIMEOUT, circuit_breakers=UNBROKEN)
    cluster.common_lb_config.healthy_panic_threshold.CopyFrom(Percent(value=0))
    # By default Envoy tells its workers up to a second later that a gateway has died, or is back.
    cluster.common_lb_config.update_merge_window.CopyFrom(AT_ONCE)
    explicit = HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=protocol)
    options = packed(HttpProtocolOptions(explicit_http_config=explicit))
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(options)
    return cluster


def _match(name: str, socket: TransportSocket, criteria: Struct) -> Cluster.TransportSocketMatch:
    return Cluster.TransportSocketMatch(name=name, match=criteria, transport_socket=socket)


def _probe() -> HealthCheck:
    """Ask a gateway whether it lives, as the gateway that we are.

    The host is explicit: by default it is the cluster's name, and ours has a bar in it that HTTP forbids.
    """
    return HealthCheck(
        timeout=_PROBE_TIMEOUT,
        interval=_PROBE_INTERVAL,
        no_traffic_interval=_PROBE_INTERVAL,
        unhealthy_threshold=UInt32Value(value=1),
        healthy_threshold=UInt32Value(value=1),
        reuse_connection=BoolValue(value=True),
        http_health_check=HealthCheck.HttpHealthCheck(
            host="gateway", path=READY_PATH, codec_client_type=CodecClientType.HTTP2
        ),
        transport_socket_match_criteria=_PROBE,
    )
