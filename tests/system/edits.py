"""Changing what was translated, on its way to Envoy: to take a cure away, and see what it cures."""

from collections.abc import Callable, Iterator

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import Resource as Frame
from google.protobuf import symbol_database
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson, Parse
from google.protobuf.message import Message

from gateway.delta import Resource
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from gateway.messages import resource

Edit = Callable[[str, Resource], Resource]

_MESSAGES: dict[str, type[Message]] = {
    CLUSTER: Cluster,
    ENDPOINT: ClusterLoadAssignment,
    SECRET: Secret,
    LISTENER: Listener,
    ROUTE: RouteConfiguration,
}


def unpacked(kind: str, framed: Resource) -> Message:
    """The message in a resource."""
    message = _MESSAGES[kind]()
    assert Frame.FromString(framed.body).resource.Unpack(message)
    return message


def replacing(kind: str, old: str, new: str) -> Edit:
    """Put *new* for *old* in the JSON of every resource of *kind*."""

    def edit(this: str, framed: Resource) -> Resource:
        if this != kind:
            return framed
        text = MessageToJson(unpacked(kind, framed), preserving_proto_field_name=True)
        return resource(framed.name, Parse(text.replace(old, new), _MESSAGES[kind]()))

    return edit


# Envoy ends a connection or a stream that has been idle for as long as one of these says, unless told
# otherwise; what bounds a whole life has no default, and what bounds a beginning is not about idleness.
_IDLE_TIMEOUTS = {
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": ("idle_timeout",),
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": (
        "stream_idle_timeout",
        "request_timeout",
    ),
    "envoy.config.route.v3.RouteAction": ("timeout", "idle_timeout"),
    "envoy.config.core.v3.HttpProtocolOptions": ("idle_timeout",),
    "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions": ("idle_timeout",),
}
# Left out of a message, these hide a default as well.
_HIDDEN = {
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": (
        "common_http_protocol_options",
    ),
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": ("common_http_protocol_options",),
}


def shortening_defaults(seconds: int) -> Edit:
    """Set every idle timeout that the translation leaves at its default to *seconds*."""

    def edit(kind: str, framed: Resource) -> Resource:
        message = unpacked(kind, framed)
        _shorten(message, Duration(seconds=seconds))
        return resource(framed.name, message)

    return edit


def _shorten(message: Message, to: Duration) -> None:
    if isinstance(message, Any):
        _shorten_within(message, to)
        return
    name = message.DESCRIPTOR.full_name
    for field in _HIDDEN.get(name, ()):
        getattr(message, field).SetInParent()
    for field in _IDLE_TIMEOUTS.get(name, ()):
        if not message.HasField(field):
            getattr(message, field).CopyFrom(to)
    for child in _children(message):
        _shorten(child, to)


def _shorten_within(wrapped: Any, to: Duration) -> None:
    prototype = symbol_database.Default().GetSymbol(wrapped.TypeName())
    inner = prototype()
    wrapped.Unpack(inner)
    _shorten(inner, to)
    wrapped.Pack(inner, deterministic=True)


def _children(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        assert field.message_type is not None
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
                yield from value.values()
        elif field.is_repeated:
            yield from value
        else:
            yield value
