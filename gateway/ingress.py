"""The listener of an ingress: what other gateways dial, with a filter chain for each cluster's own."""

from collections.abc import Iterable, Mapping
from typing import Final

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, LogTypeFilter
from envoy.config.core.v3.protocol_pb2 import HttpProtocolOptions
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.rbac.v3.rbac_pb2 import RBAC as Rules
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.filters.http.on_demand.v3.on_demand_pb2 import OnDemand, OnDemandCds
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    Rds,
)
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from clusters.model import Member
from gateway import lds, limits, names, rds, tls
from gateway.filters import http_filter, network_filter
from gateway.messages import (
    ADS,
    FOREVER,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    packed,
    seconds,
    socket_address,
    tunnel_protocol,
)
from gateway.spec import GatewaySpec

STATS: Final = "ingress"

_HANDSHAKE_TIMEOUT: Final = seconds(10)
_LONGEST_HEADERS: Final = UInt32Value(value=8)
_MOST_HEADERS: Final = UInt32Value(value=32)


def listener(spec: GatewaySpec, members: Iterable[Member]) -> Listener:
    """Take tunnels from *members*, each in a filter chain of its own that the SNI picks.

    Taking a chain away closes that cluster's connections and nobody else's. A chain has no policy in it:
    a changed chain cuts its tunnels, a changed route does not.
    """
    addresses = [socket_address(address, spec.ingress_port) for address in spec.ingress_addresses]
    made = lds.listener(names.INGRESS, addresses, STATS)
    inspector = packed(TlsInspector())
    made.listener_filters.append(
        ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=inspector)
    )
    manager = network_filter("envoy.filters.network.http_connection_manager", _manager(spec))
    for member in members:
        made.filter_chains.append(
            FilterChain(
                name=member.trust_domain,
                filter_chain_match=FilterChainMatch(server_names=[member.trust_domain]),
                filters=[limits.share(member.name, spec.max_connections), manager],
                transport_socket=tls.downstream(member),
                transport_socket_connect_timeout=_HANDSHAKE_TIMEOUT,
            )
        )
    return made


def _manager(spec: GatewaySpec) -> HttpConnectionManager:
    """Answer CONNECT by the table of routes; no timeout ends a stream that its ends keep.

    Bounds on a connection's or a stream's whole life are not set: there are none by default, and zero
    would not turn them off but end everything at once.
    """
    manager = HttpConnectionManager(
        stat_prefix=STATS,
        codec_type=HttpConnectionManager.HTTP2,
        http2_protocol_options=tunnel_protocol(KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT),
        # A tunnel is asked for in a handful of headers; Envoy would read 60 KiB of them.
        max_request_headers_kb=_LONGEST_HEADERS,
        common_http_protocol_options=HttpProtocolOptions(max_headers_count=_MOST_HEADERS),
        stream_idle_timeout=FOREVER,
        request_timeout=FOREVER,
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT")],
        rds=Rds(route_config_name=names.INGRESS, config_source=ADS),
        http_filters=[
            http_filter(rds.REVOKED, RBAC()),
            # Nobody may do anything, but for what the route's own rules say.
            http_filter("envoy.filters.http.rbac", RBAC(rules=Rules(action=Rules.ALLOW))),
            http_filter(
                "envoy.filters.http.on_demand",
                OnDemand(odcds=OnDemandCds(source=ADS, timeout=lds.ON_DEMAND_TIMEOUT)),
            ),
            http_filter("envoy.filters.http.router", Router()),
        ],
        generate_request_id=BoolValue(value=False),
    )
    for path, fields in ((spec.access_log, _OF_CALLS), (spec.tunnel_log, _OF_HOLDERS)):
        if path is not None:
            manager.access_log.append(_log_of_tunnels(path, fields))
            manager.access_log_options.flush_log_on_tunnel_successfully_established = True
    return manager


# For people: who called what, and what the endpoint sees.
_OF_CALLS: Final = {
    "start": "%START_TIME%",
    "authority": "%REQ(:AUTHORITY)%",
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "downstream_remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "upstream_local": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_host": "%UPSTREAM_HOST%",
}
# For `gateway.holders`. As JSON, because a member could sign a name with a line's end in it.
_OF_HOLDERS: Final = {
    "far": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "near": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%",
    "who": "%DOWNSTREAM_PEER_URI_SAN%",
}


def _log_of_tunnels(path: str, fields: Mapping[str, str]) -> AccessLog:
    """One JSON line with *fields* for each tunnel, when it is opened."""
    line = Struct()
    line.update(fields)
    log = FileAccessLog(path=path, log_format=SubstitutionFormatString(json_format=line))
    opened = LogTypeFilter(types=[AccessLogType.DownstreamTunnelSuccessfullyEstablished])
    return AccessLog(
        name="envoy.access_loggers.file",
        filter=AccessLogFilter(log_type_filter=opened),
        typed_config=packed(log),
    )
