"""Who calls, for the server to read: the table of routes that a request meets at an egress.

It has one virtual host for each workload, found by the very key that picks the workload's certificate, and
all that a host does is to write the caller's name into the request. So what a server is told and what the
far gateway sees have one source, a new workload touches no listener, and an address that changes hands does
so for the next request, on open connections too.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value

from clusters.model import Workload
from gateway import names, rds
from gateway.filters import header
from gateway.messages import FOREVER
from gateway.spec import Role
from pki.spiffe import gateway_id, workload_id

XFCC: Final = "x-forwarded-client-cert"

# Who reads headers as CGI does takes these for the same header.
FORGERIES: Final = tuple(
    f"x{a}forwarded{b}client{c}cert" for a in "-_" for b in "-_" for c in "-_" if "_" in a + b + c
)

_UNKNOWN: Final = b"no workload has the address that this call comes from"

# What the server has refused to begin with. All else may have been begun, so it is not sent again: by whom
# a request is answered was settled inside the tunnel, before the first of its bytes.
_NOT_BEGUN: Final = RetryPolicy(
    retry_on="refused-stream,reset-before-request",
    num_retries=UInt32Value(value=2),
    retry_back_off=rds.SOON,
)
_ANY: Final = RouteMatch(prefix="/")
_ON: Final = Route(
    match=_ANY,
    route=RouteAction(
        cluster_header=names.VIP_HEADER,
        cluster_not_found_response_code=RouteAction.SERVICE_UNAVAILABLE,
        timeout=FOREVER,
        retry_policy=_NOT_BEGUN,
    ),
)


def head() -> RouteConfiguration:
    """What the table begins with, and what it ends in for an address that is nobody's any more."""
    unknown = DirectResponseAction(status=403, body=DataSource(inline_bytes=_UNKNOWN))
    return RouteConfiguration(
        name=names.HTTP,
        vhost_header=names.CALLER_HEADER,
        request_headers_to_remove=[names.CALLER_HEADER, names.VIP_HEADER, *FORGERIES],
        virtual_hosts=[
            VirtualHost(name="unknown", domains=["*"], routes=[Route(match=_ANY, direct_response=unknown)])
        ],
    )


def known(sources: Mapping[str, Workload], trust_domain: str, gateway: str) -> Iterable[bytes]:
    """A virtual host for each workload in *sources*, serialized, as told by the egress *gateway*."""
    addresses: dict[Workload, list[str]] = {}
    for address, workload in sorted(sources.items()):
        addresses.setdefault(workload, []).append(names.source_secret(address))
    by = gateway_id(trust_domain, Role.EGRESS, gateway)
    for workload, keys in sorted(addresses.items(), key=lambda item: (item[0].namespace, item[0].name)):
        caller = workload_id(trust_domain, workload.namespace, workload.name)
        yield rds.serialized(_host(f"{workload.namespace}/{workload.name}", keys, f"By={by};URI={caller}"))


def _host(name: str, keys: Iterable[str], told: str) -> VirtualHost:
    """Tell the server *told* of whoever is known by one of *keys*."""
    return VirtualHost(
        name=name,
        domains=keys,
        routes=[_ON],
        request_headers_to_add=[header(XFCC, told)],
        request_body_buffer_limit=_KEPT_FOR_RETRIES,
    )


# Of a request's body, in bytes; one that is longer is not sent again.
_KEPT_FOR_RETRIES: Final = UInt64Value(value=64 << 10)
