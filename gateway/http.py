"""The one HTTP connection manager on the way of a call: at the egress, in front of the tunnel.

It takes what programs speak when they call each other directly, and sends it on as it came: the same version
of the protocol, the same path, host, headers and trailers. What it adds is who calls, and that each request
may take another way.
"""

from typing import Final

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter, ResponseFlagFilter
from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.protocol_pb2 import (
    Http1ProtocolOptions,
    HttpProtocolOptions,
)
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation as Mutating
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import Mutations
from envoy.extensions.filters.http.on_demand.v3.on_demand_pb2 import OnDemand, OnDemandCds
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    LocalReplyConfig,
    Rds,
    ResponseMapper,
)
from envoy.extensions.http.header_formatters.preserve_case.v3.preserve_case_pb2 import (
    PreserveCaseFormatterConfig,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import (
    HttpProtocolOptions as UpstreamOptions,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import BoolValue

from gateway import callers, lds, names
from gateway.filters import before_routing, http_filter, network_filter
from gateway.messages import ADS, AT_ONCE, FOREVER, packed, seconds, tunnel_protocol

STATS: Final = "egress"

_NO: Final = BoolValue(value=False)

# A server that closes a connection just as a request is sent on it leaves the caller without an answer. The
# shortest time for which a common server keeps one is two seconds (Gunicorn).
_UPSTREAM_IDLE: Final = seconds(1.5)
# What is in a tunnel goes where it led when it was opened: home again, and away from where one may not call
# any more, only by the next.
_UPSTREAM_AGE: Final = seconds(5)

_HEADERS_WITHIN: Final = seconds(10)
_FLUSHED_WITHIN: Final = seconds(300)

# What the table of routes sees of a request: whose connection it comes on, and to what.
_TOLD: Final = {
    names.CALLER_HEADER: f"%FILTER_STATE({names.IDENTITY_KEY}:PLAIN)%",
    names.VIP_HEADER: names.CALLED_VIP,
}


def manager() -> Filter:
    """Answer requests by the table of callers, each from the service that its connection is to."""
    made = HttpConnectionManager(
        stat_prefix=STATS,
        codec_type=HttpConnectionManager.AUTO,
        http_protocol_options=_http1(),
        http2_protocol_options=tunnel_protocol(),
        server_header_transformation=HttpConnectionManager.PASS_THROUGH,
        request_headers_timeout=_HEADERS_WITHIN,
        stream_idle_timeout=FOREVER,
        stream_flush_timeout=_FLUSHED_WITHIN,
        # What is closed is closed when all was sent: by default a reader that pauses for a second loses the
        # end of a response, and who closes a WebSocket waits for that long.
        delayed_close_timeout=AT_ONCE,
        forward_client_cert_details=HttpConnectionManager.SANITIZE,
        proxy_100_continue=True,
        generate_request_id=_NO,
        preserve_external_request_id=True,
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        early_header_mutation_extensions=[before_routing(_TOLD)],
        local_reply_config=_own_words(),
        rds=Rds(route_config_name=names.HTTP, config_source=ADS),
        http_filters=[
            http_filter("envoy.filters.http.header_mutation", Mutating(mutations=_clean_trailers())),
            http_filter(
                "envoy.filters.http.on_demand",
                OnDemand(odcds=OnDemandCds(source=ADS, timeout=lds.ON_DEMAND_TIMEOUT)),
            ),
            http_filter("envoy.filters.http.router", Router(suppress_envoy_headers=True)),
        ],
    )
    return network_filter("envoy.filters.network.http_connection_manager", made)


def upstream() -> Any:
    """Options of a cluster that is called request by request: in the protocol that the caller speaks."""
    same = UpstreamOptions.UseDownstreamHttpConfig(
        http_protocol_options=_http1(), http2_protocol_options=tunnel_protocol()
    )
    bounds = HttpProtocolOptions(idle_timeout=_UPSTREAM_IDLE, max_connection_duration=_UPSTREAM_AGE)
    return packed(UpstreamOptions(common_http_protocol_options=bounds, use_downstream_protocol_config=same))


def _http1() -> Http1ProtocolOptions:
    """HTTP/1 that is sent on as it came."""
    case = packed(PreserveCaseFormatterConfig(forward_reason_phrase=True))
    return Http1ProtocolOptions(
        accept_http_10=True,
        default_host_for_http_10="localhost",
        header_key_format=Http1ProtocolOptions.HeaderKeyFormat(
            stateful_formatter=TypedExtensionConfig(name="preserve_case", typed_config=case)
        ),
        enable_trailers=True,
        allow_custom_methods=True,
        # Some clients offer TLS to everybody, and go on without it when nothing is said to that.
        ignore_http_11_upgrade=[StringMatcher(prefix="TLS/")],
    )


def _own_words() -> LocalReplyConfig:
    """Answers that no server gave say so, and why, in one line."""
    nowhere = ResponseMapper(
        filter=AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=["UH", "NC"])),
        body_format_override=_line("no cluster can take calls to %REQ(:AUTHORITY)% now"),
    )
    return LocalReplyConfig(mappers=[nowhere], body_format=_line("%LOCAL_REPLY_BODY%"))


def _line(text: str) -> SubstitutionFormatString:
    return SubstitutionFormatString(text_format_source=DataSource(inline_string=f"fedgate: {text}"))


def _clean_trailers() -> Mutations:
    """Nothing may be said of the caller in what comes after the body, where servers read it as a header."""
    return Mutations(
        request_trailers_mutations=[Mutation(remove=name) for name in (callers.XFCC, *callers.FORGERIES)]
    )
