"""Listeners: one for each port that services have, one that opens tunnels, one that other gateways dial.

None of them knows a service or an endpoint, so they hardly ever change, and what changes in them never
touches an open connection: at the egress it is the matcher alone (whom and what to let in), at the ingress
a cluster's own filter chain.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, LogTypeFilter
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, KeepaliveSettings
from envoy.config.core.v3.socket_option_pb2 import SocketOption
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import (
    Filter,
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
)
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from envoy.config.rbac.v3.rbac_pb2 import RBAC as Rules
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.on_demand.v3.on_demand_pb2 import OnDemand, OnDemandCds
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value
from xds.type.matcher.v3.matcher_pb2 import Matcher

from clusters.model import Member
from gateway import matchers, names, tls
from gateway.messages import (
    ADS,
    CONNECTION_WINDOW,
    FOREVER,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    STREAM_WINDOW,
    packed,
    socket_address,
)
from gateway.spec import GatewaySpec

# All listeners of an egress count together: their numbers have the same names whatever there is to call.
EGRESS_STATS: Final = "egress"
INGRESS_STATS: Final = "ingress"

_ON_DEMAND_TIMEOUT: Final = Duration(seconds=5)
_HANDSHAKE_TIMEOUT: Final = Duration(seconds=10)
_CONNECT_ATTEMPTS: Final = UInt32Value(value=4)
_BACKOFF: Final = BackoffStrategy(
    base_interval=Duration(nanos=50_000_000), max_interval=Duration(nanos=500_000_000)
)

# SOL_SOCKET/SO_KEEPALIVE, then IPPROTO_TCP/TCP_KEEPIDLE, _INTVL and _CNT, as Linux numbers them.
_KEEPALIVE: Final = [
    SocketOption(level=level, name=name, int_value=value, state=SocketOption.STATE_LISTENING)
    for level, name, value in ((1, 9, 1), (6, 4, 60), (6, 5, 10), (6, 6, 3))
]


def egress(
    name: str, addresses: Sequence[str], port: int, vips: Iterable[str], sources: Matcher.OnMatch
) -> Listener:
    """Take calls to *vips* on *port* from known *sources*, and close every other connection at once."""
    listener = _listener(name, [socket_address(address, port) for address in addresses], EGRESS_STATS)
    listener.filter_chain_matcher.CopyFrom(matchers.by_address(matchers.DESTINATION, vips, sources))
    listener.filter_chains.append(_CALLERS)
    return listener


def callers(sources: Iterable[str]) -> Matcher.OnMatch:
    """Let the addresses *sources* in: made once, and shared by all listeners of an egress."""
    chain = matchers.chain(names.CALLERS)
    return Matcher.OnMatch(matcher=matchers.by_address(matchers.SOURCE, sources, chain))


def tunnel() -> Listener:
    """Carry a connection to the gateway that its endpoint names, in an HTTP/2 CONNECT of its own."""
    return Listener(
        name=names.TUNNEL,
        internal_listener=Listener.InternalListenerConfig(),
        filter_chains=[FilterChain(filters=[_TUNNEL_STATE, _TUNNEL_PROXY])],
        # What was let in at the outer listener is not counted again.
        ignore_global_conn_limit=True,
    )


def ingress(spec: GatewaySpec, members: Iterable[Member]) -> Listener:
    """Take tunnels from *members*, each in a filter chain of its own that the SNI picks.

    Taking a chain away closes that cluster's connections and nobody else's. A chain has no policy in it:
    a changed chain cuts its tunnels, a changed route does not.
    """
    addresses = [socket_address(address, spec.ingress_port) for address in spec.ingress_addresses]
    listener = _listener(names.INGRESS, addresses, INGRESS_STATS)
    inspector = packed(TlsInspector())
    listener.listener_filters.append(
        ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=inspector)
    )
    manager = _filter("envoy.filters.network.http_connection_manager", _manager(spec.access_log))
    for member in members:
        listener.filter_chains.append(
            FilterChain(
                name=member.trust_domain,
                filter_chain_match=FilterChainMatch(server_names=[member.trust_domain]),
                filters=[manager],
                transport_socket=tls.downstream(member),
                transport_socket_connect_timeout=_HANDSHAKE_TIMEOUT,
            )
        )
    return listener


def _listener(name: str, addresses: Sequence[Address], stats: str) -> Listener:
    """A listener at *addresses*, counted under *stats*.

    Without SO_REUSEPORT: with it, another Envoy of the same user could bind the same port unnoticed and
    take half of the connections.
    """
    first, *others = addresses
    return Listener(
        name=name,
        stat_prefix=stats,
        address=first,
        additional_addresses=[AdditionalAddress(address=address, socket_options=None) for address in others],
        enable_reuse_port=BoolValue(value=False),
        socket_options=_KEEPALIVE,
    )


def _filter(name: str, config: Message) -> Filter:
    return Filter(name=name, typed_config=packed(config))


def _state(*values: FilterStateValue) -> Filter:
    return _filter("envoy.filters.network.set_filter_state", SetFilterState(on_new_connection=values))


def _value(key: str, template: str) -> FilterStateValue:
    """Set *key* to what *template* says of the connection."""
    text = SubstitutionFormatString()
    text.text_format_source.inline_string = template
    return FilterStateValue(object_key=key, format_string=text)


def _identity() -> FilterStateValue:
    """Name the caller's certificate.

    Hashable, so that connections of different callers are never pooled together; transitive, so that it
    gets past the internal listener.
    """
    value = _value(names.IDENTITY_KEY, names.source_secret("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"))
    value.factory_key = "envoy.hashable_string"
    value.shared_with_upstream = FilterStateValue.TRANSITIVE
    return value


def _proxy() -> TcpProxy:
    """Carry bytes to a cluster that comes on demand, for as long as both ends like.

    The cluster in the configuration is never asked for: filter state names another.
    """
    return TcpProxy(
        stat_prefix="tcp",
        cluster="none",
        on_demand=TcpProxy.OnDemand(odcds_config=ADS, timeout=_ON_DEMAND_TIMEOUT),
        idle_timeout=FOREVER,
        max_connect_attempts=_CONNECT_ATTEMPTS,
        backoff_options=_BACKOFF,
    )


def _tunnelling() -> TcpProxy:
    proxy = _proxy()
    proxy.tunneling_config.hostname = f"%DYNAMIC_METADATA({names.TUNNEL_METADATA}:authority)%"
    return proxy


_CALLERS: Final = FilterChain(
    name=names.CALLERS,
    filters=[
        _state(_value("envoy.tcp_proxy.cluster", "vip|%DOWNSTREAM_LOCAL_ADDRESS%"), _identity()),
        _filter("envoy.filters.network.tcp_proxy", _proxy()),
    ],
)
_TUNNEL_STATE: Final = _state(
    _value("envoy.tcp_proxy.cluster", f"gw|%DYNAMIC_METADATA({names.TUNNEL_METADATA}:gateway)%")
)
_TUNNEL_PROXY: Final = _filter("envoy.filters.network.tcp_proxy", _tunnelling())


def _manager(access_log: str | None) -> HttpConnectionManager:
    """Answer CONNECT by the table of routes; no timeout ends a stream that its ends keep.

    Bounds on a connection's or a stream's whole life are not set: there are none by default, and zero
    would not turn them off but end everything at once.
    """
    manager = HttpConnectionManager(
        stat_prefix=INGRESS_STATS,
        codec_type=HttpConnectionManager.HTTP2,
        http2_protocol_options=Http2ProtocolOptions(
            allow_connect=True,
            initial_stream_window_size=STREAM_WINDOW,
            initial_connection_window_size=CONNECTION_WINDOW,
            connection_keepalive=KeepaliveSettings(interval=KEEPALIVE_INTERVAL, timeout=KEEPALIVE_TIMEOUT),
        ),
        stream_idle_timeout=FOREVER,
        request_timeout=FOREVER,
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT")],
        rds=Rds(route_config_name=names.INGRESS, config_source=ADS),
        http_filters=[
            # Nobody may do anything, but for what the route's own rules say.
            _http_filter("envoy.filters.http.rbac", RBAC(rules=Rules(action=Rules.ALLOW))),
            _http_filter(
                "envoy.filters.http.on_demand",
                OnDemand(odcds=OnDemandCds(source=ADS, timeout=_ON_DEMAND_TIMEOUT)),
            ),
            _http_filter("envoy.filters.http.router", Router()),
        ],
        generate_request_id=BoolValue(value=False),
    )
    if access_log is not None:
        manager.access_log.append(_log_of_tunnels(access_log))
        manager.access_log_options.flush_log_on_tunnel_successfully_established = True
    return manager


def _http_filter(name: str, config: Message) -> HttpFilter:
    return HttpFilter(name=name, typed_config=packed(config))


def _log_of_tunnels(path: str) -> AccessLog:
    """One JSON line for each tunnel, when it is opened: who called what, and what the endpoint sees."""
    fields = Struct()
    fields.update(
        {
            "start": "%START_TIME%",
            "authority": "%REQ(:AUTHORITY)%",
            "peer": "%DOWNSTREAM_PEER_URI_SAN%",
            "downstream_remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
            "upstream_local": "%UPSTREAM_LOCAL_ADDRESS%",
            "upstream_host": "%UPSTREAM_HOST%",
        }
    )
    log = FileAccessLog(path=path, log_format=SubstitutionFormatString(json_format=fields))
    opened = LogTypeFilter(types=[AccessLogType.DownstreamTunnelSuccessfullyEstablished])
    return AccessLog(
        name="envoy.access_loggers.file",
        filter=AccessLogFilter(log_type_filter=opened),
        typed_config=packed(log),
    )


def wildcards(families: Iterable[int]) -> list[str]:
    """The addresses to bind for every VIP of the IP versions *families*."""
    return [{4: "0.0.0.0", 6: "::"}[family] for family in sorted(set(families))]  # noqa: S104
