"""Clusters of services: one on one of its VIPs, and the local endpoints of one.

All of them come on demand, the first time that a call needs one.
"""

from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from envoy.config.core.v3.address_pb2 import TcpKeepalive
from envoy.config.core.v3.base_pb2 import RoutingPriority, TransportSocket
from envoy.extensions.transport_sockets.internal_upstream.v3.internal_upstream_pb2 import (
    InternalUpstreamTransport,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.type.metadata.v3.metadata_pb2 import MetadataKind
from google.protobuf.wrappers_pb2 import UInt32Value

from clusters.carriage import Carriage
from gateway import http, names
from gateway.messages import ADS, HTTP_OPTIONS, seconds, transport_socket

# Of endpoints within a cluster: who asks for a tunnel has other clusters, and waits for 1.6 s.
_CONNECT_TIMEOUT: Final = seconds(0.7)

# Envoy's own limits (1,024 connections or streams a cluster) would refuse the 1,025th idle tunnel; and of
# many calls that fail over at once it would let three do so.
_NO_LIMIT: Final = UInt32Value(value=1 << 30)
UNBROKEN: Final = CircuitBreakers(
    thresholds=[
        CircuitBreakers.Thresholds(
            priority=RoutingPriority.DEFAULT,
            max_connections=_NO_LIMIT,
            max_pending_requests=_NO_LIMIT,
            max_requests=_NO_LIMIT,
            max_retries=_NO_LIMIT,
        )
    ]
)

# An idle connection to a peer that is gone without a word is noticed, and only such a one is closed.
KEEPALIVE: Final = UpstreamConnectionOptions(
    tcp_keepalive=TcpKeepalive(
        keepalive_probes=UInt32Value(value=3),
        keepalive_time=UInt32Value(value=60),
        keepalive_interval=UInt32Value(value=10),
    )
)


def _on_demand(name: str) -> Cluster:
    """A cluster whose endpoints have the same name and come over ADS."""
    return Cluster(
        name=name,
        type=Cluster.EDS,
        eds_cluster_config=Cluster.EdsClusterConfig(eds_config=ADS),
        connect_timeout=_CONNECT_TIMEOUT,
        circuit_breakers=UNBROKEN,
    )


def vip(name: str, carried: Carriage) -> Cluster:
    """The service behind a VIP, reached through the internal listener that opens tunnels.

    What is behind an endpoint's tunnel goes along as its metadata.
    """
    cluster = _on_demand(name)
    cluster.transport_socket.CopyFrom(internal_socket())
    if carried is Carriage.L7:
        # As it is without us: who connects anew has a tunnel that was found to lead somewhere just now.
        cluster.connection_pool_per_downstream_connection = True
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(http.upstream())
    return cluster


def internal_socket() -> TransportSocket:
    """A connection to an internal listener, with filter state and the endpoint's metadata passed on."""
    inner = InternalUpstreamTransport(
        passthrough_metadata=[
            InternalUpstreamTransport.MetadataValueSource(
                kind=MetadataKind(host=MetadataKind.Host()), name=names.TUNNEL_METADATA
            )
        ],
        transport_socket=transport_socket("envoy.transport_sockets.raw_buffer", RawBuffer()),
    )
    return transport_socket("envoy.transport_sockets.internal_upstream", inner)


def local(name: str) -> Cluster:
    """The endpoints of a service of this cluster, dialled in the clear inside of it."""
    cluster = _on_demand(name)
    cluster.upstream_connection_options.CopyFrom(KEEPALIVE)
    return cluster
