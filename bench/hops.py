"""What fedgate is measured against: plain proxies with static configuration, one hop or two.

All are alike in what costs: one worker, no access log, the same counters kept, TLS 1.3 with P-256 keys of
the same depth, HTTP/2 between the hops, nothing added to requests that can be left out.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from bench.report import Json
from gateway.bootstrap import UnixAgent, bootstrap, to_json
from gateway.spec import GatewaySpec, Role

_HTTP: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP: Final = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of one side of a mutual TLS connection; *both* is chain and key in one file, as HAProxy likes."""

    chain: Path
    key: Path
    both: Path
    trusted: Path


@dataclass(frozen=True, slots=True)
class Hop:
    """One plain proxy: from where to where, and which of its sides are TLS.

    A new TLS connection does not go on with the keys of an earlier one: fedgate's do not either.
    """

    listen: tuple[str, int]
    to: tuple[str, int]
    http: bool = True
    tls_in: Credentials | None = None
    tls_out: Credentials | None = None


def envoy(hop: Hop) -> dict[str, Json]:
    """The bootstrap of an Envoy that is *hop*."""
    chain: dict[str, Json] = {"filters": [_manager(hop) if hop.http else _tcp_proxy()]}
    if hop.tls_in:
        context: dict[str, Json] = {
            "common_tls_context": _tls(hop.tls_in, h2=hop.http),
            "require_client_certificate": True,
            "disable_stateless_session_resumption": True,
            "disable_stateful_session_resumption": True,
        }
        chain["transport_socket"] = _socket("DownstreamTlsContext", context)
    return _bootstrap(hop.listen, chain, [_cluster(hop)])


def answering(listen: tuple[str, int], body: str) -> dict[str, Json]:
    """The bootstrap of an Envoy that answers every request itself: the backend, and a cheap one."""
    answer: Json = {"match": {"prefix": "/"}, "direct_response": _says(body)}
    return _bootstrap(listen, {"filters": [_http_filter([answer])]}, [])


def _says(body: str) -> Json:
    return {"status": 200, "body": {"inline_string": body}}


def _bootstrap(listen: tuple[str, int], chain: Json, clusters: list[Json]) -> dict[str, Json]:
    listener: Json = {
        "name": "in",
        "address": _address(listen),
        "filter_chains": [chain],
        "enable_reuse_port": False,
    }
    return {
        "static_resources": {"listeners": [listener], "clusters": clusters},
        "stats_config": _counted(),
    }


@cache
def _counted() -> Json:
    """Which counters a gateway of fedgate keeps: the same are kept here."""
    spec, nowhere = GatewaySpec("gw", frozenset(Role)), Path("/")
    whole: dict[str, Json] = json.loads(to_json(bootstrap(spec, UnixAgent(nowhere), nowhere)))
    return whole["stats_config"]


def _manager(hop: Hop) -> Json:
    return _http_filter(
        [{"match": {"prefix": "/"}, "route": {"cluster": "out", "timeout": "0s"}}], h2=hop.tls_in is not None
    )


def _http_filter(routes: list[Json], *, h2: bool = False) -> Json:
    config: dict[str, Json] = {
        "@type": f"type.googleapis.com/{_HTTP}",
        "stat_prefix": "in",
        "codec_type": "HTTP2" if h2 else "HTTP1",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"type.googleapis.com/{_ROUTER}"},
            }
        ],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _tcp_proxy() -> Json:
    config: Json = {"@type": f"type.googleapis.com/{_TCP}", "stat_prefix": "in", "cluster": "out"}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def _cluster(hop: Hop) -> Json:
    cluster: dict[str, Json] = {
        "name": "out",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "out",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(hop.to)}}]}],
        },
    }
    if hop.tls_out:
        context: dict[str, Json] = {
            "common_tls_context": _tls(hop.tls_out, h2=hop.http),
            "max_session_keys": 0,
        }
        cluster["transport_socket"] = _socket("UpstreamTlsContext", context)
        if hop.http:
            cluster["typed_extension_protocol_options"] = {
                _HTTP_OPTIONS: {
                    "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            }
    return cluster


def _tls(credentials: Credentials, *, h2: bool) -> Json:
    common: dict[str, Json] = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(credentials.chain)},
                "private_key": {"filename": str(credentials.key)},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": str(credentials.trusted)}},
    }
    if h2:
        common["alpn_protocols"] = ["h2"]
    return common


def _socket(kind: str, context: dict[str, Json]) -> Json:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"type.googleapis.com/{_TLS}.{kind}", **context},
    }


def _address(at: tuple[str, int]) -> Json:
    return {"socket_address": {"address": at[0], "port_value": at[1]}}


def haproxy(hop: Hop) -> str:
    """The configuration of an HAProxy that is *hop*."""
    bind, server = (f"{host}:{port}" for host, port in (hop.listen, hop.to))
    if hop.tls_in:
        bind += f" ssl crt {hop.tls_in.both} ca-file {hop.tls_in.trusted} verify required"
        bind += " alpn h2 ssl-min-ver TLSv1.3"
    if hop.tls_out:
        server += f" ssl crt {hop.tls_out.both} ca-file {hop.tls_out.trusted} verify required"
        server += " alpn h2 ssl-min-ver TLSv1.3"
    return f"""global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend in
    bind {bind}
    default_backend out
backend out
    server one {server}
"""
