"""Clusters: a service on one of its VIPs, the gateways of a member, the local endpoints of a service.

All of them come on demand, the first time that a call needs one.
"""

from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from envoy.config.core.v3.address_pb2 import TcpKeepalive
from envoy.config.core.v3.base_pb2 import RoutingPriority
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, KeepaliveSettings
from envoy.extensions.transport_sockets.internal_upstream.v3.internal_upstream_pb2 import (
    InternalUpstreamTransport,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.type.metadata.v3.metadata_pb2 import MetadataKind
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from clusters.model import Member
from gateway import names, tls
from gateway.messages import (
    ADS,
    CONNECTION_WINDOW,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    STREAM_WINDOW,
    packed,
    transport_socket,
)

_CONNECT_TIMEOUT: Final = Duration(seconds=5)
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Envoy's own limits (1,024 connections or streams a cluster) would refuse the 1,025th idle tunnel.
_NO_LIMIT: Final = UInt32Value(value=1 << 30)
_UNBROKEN: Final = CircuitBreakers(
    thresholds=[
        CircuitBreakers.Thresholds(
            priority=RoutingPriority.DEFAULT,
            max_connections=_NO_LIMIT,
            max_pending_requests=_NO_LIMIT,
            max_requests=_NO_LIMIT,
        )
    ]
)

# An idle connection to a peer that is gone without a word is noticed, and only such a one is closed.
_KEEPALIVE: Final = UpstreamConnectionOptions(
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
        circuit_breakers=_UNBROKEN,
    )


def vip(name: str) -> Cluster:
    """The service behind a VIP, reached through the internal listener that opens tunnels.

    What is behind an endpoint's tunnel goes along as its metadata.
    """
    cluster = _on_demand(name)
    inner = InternalUpstreamTransport(
        passthrough_metadata=[
            InternalUpstreamTransport.MetadataValueSource(
                kind=MetadataKind(host=MetadataKind.Host()), name=names.TUNNEL_METADATA
            )
        ],
        transport_socket=transport_socket("envoy.transport_sockets.raw_buffer", RawBuffer()),
    )
    cluster.transport_socket.CopyFrom(transport_socket("envoy.transport_sockets.internal_upstream", inner))
    return cluster


def gateways(member: Member, home: str) -> Cluster:
    """The ingress gateways of *member*, as dialled from the trust domain *home*.

    There is one pool of HTTP/2 connections for each caller's identity.
    """
    cluster = _on_demand(names.gateway_cluster(member.name))
    cluster.transport_socket.CopyFrom(tls.upstream(member, home))
    cluster.upstream_connection_options.CopyFrom(_KEEPALIVE)
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(_tunnel_protocol())
    return cluster


def _tunnel_protocol() -> Any:
    """HTTP/2 that carries CONNECT, and notices a peer that has stopped answering."""
    http2 = Http2ProtocolOptions(
        allow_connect=True,
        initial_stream_window_size=STREAM_WINDOW,
        initial_connection_window_size=CONNECTION_WINDOW,
        connection_keepalive=KeepaliveSettings(interval=KEEPALIVE_INTERVAL, timeout=KEEPALIVE_TIMEOUT),
    )
    explicit = HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=http2)
    return packed(HttpProtocolOptions(explicit_http_config=explicit))


def local(name: str) -> Cluster:
    """The endpoints of a service of this cluster, dialled in the clear inside of it."""
    cluster = _on_demand(name)
    cluster.upstream_connection_options.CopyFrom(_KEEPALIVE)
    return cluster
