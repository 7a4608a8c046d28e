"""The listener that asks several clusters for one tunnel, each in its turn.

A service that one cluster alone offers is tunnelled straight there. Where there is a choice, the tunnel is
handed to this listener first: a router can do what a TCP proxy cannot, ask someone else when the first has
said no. What makes it ask again is only what comes before a tunnel is open, so nothing of the call has been
sent; a caller that is not allowed (403) is not taken elsewhere.
"""

from typing import Final

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import (
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from gateway import lds, names, rds
from gateway.filters import before_routing, http_filter, network_filter, state, state_value
from gateway.messages import FOREVER, packed, tunnel_protocol

STATS: Final = "forward"

_MOST_ATTEMPTS: Final = UInt32Value(value=6)

# 404: the service was there a moment ago. 503: it has no endpoint left.
_ASK_ELSEWHERE: Final = RetryPolicy(
    retry_on="connect-failure,refused-stream,reset,retriable-status-codes",
    retriable_status_codes=[404, 503],
    num_retries=_MOST_ATTEMPTS,
    retry_host_predicate=[
        RetryPolicy.RetryHostPredicate(
            name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(PreviousHostsPredicate())
        )
    ],
    host_selection_retry_max_attempts=8,
    retry_back_off=rds.SOON,
)


def listener() -> Listener:
    """Take tunnels with the list of clusters to ask, and open each where one agrees."""
    told = state_value(names.WAY_KEY, f"%DYNAMIC_METADATA({names.TUNNEL_METADATA}:way)%")
    manager = network_filter("envoy.filters.network.http_connection_manager", _manager())
    return lds.internal(names.FORWARD, [state(told), manager])


def _manager() -> HttpConnectionManager:
    """Route CONNECT by the header that says which clusters to ask; it goes no further than here."""
    told = {names.WAY_HEADER: f"%FILTER_STATE({names.WAY_KEY}:PLAIN)%"}
    route = RouteAction(
        cluster_header=names.WAY_HEADER,
        timeout=FOREVER,
        idle_timeout=FOREVER,
        retry_policy=_ASK_ELSEWHERE,
    )
    host = VirtualHost(
        name="any",
        domains=["*"],
        routes=[Route(match=RouteMatch(connect_matcher=RouteMatch.ConnectMatcher()), route=route)],
        request_headers_to_remove=[names.WAY_HEADER],
    )
    return HttpConnectionManager(
        stat_prefix=STATS,
        codec_type=HttpConnectionManager.HTTP2,
        http2_protocol_options=tunnel_protocol(),
        stream_idle_timeout=FOREVER,
        request_timeout=FOREVER,
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT")],
        early_header_mutation_extensions=[before_routing(told)],
        route_config=RouteConfiguration(name=names.FORWARD, virtual_hosts=[host]),
        http_filters=[http_filter("envoy.filters.http.router", Router(suppress_envoy_headers=True))],
        generate_request_id=BoolValue(value=False),
        preserve_external_request_id=True,
    )
