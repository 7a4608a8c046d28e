"""The small pieces of Envoy's messages that every kind of resource needs."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, TypeAlias

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, KeepaliveSettings
from envoy.service.discovery.v3.discovery_pb2 import Resource as Frame
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value
from xds.type.v3.typed_struct_pb2 import TypedStruct

from gateway.delta import Resource

Json: TypeAlias = "Mapping[str, str | Json]"

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
FOREVER: Final = Duration()  # zero turns a timeout off, where leaving it out means a default
AT_ONCE: Final = Duration()  # likewise a delay
ADS: Final = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)

# Tunnels share their connection. However many of them are not read, together they cannot use up its window,
# and those that are go on: for more than so many there is another connection.
STREAM_WINDOW: Final = UInt32Value(value=1 << 20)
MOST_STREAMS: Final = UInt32Value(value=256)
CONNECTION_WINDOW: Final = UInt32Value(value=STREAM_WINDOW.value * MOST_STREAMS.value)
KEEPALIVE_INTERVAL: Final = Duration(seconds=10)
KEEPALIVE_TIMEOUT: Final = Duration(seconds=5)


def packed(message: Message) -> Any:
    """Wrap *message*, with the same bytes each time."""
    wrapped = Any()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def resource(name: str, message: Message) -> Resource:
    """Frame *message* as it goes over ADS."""
    return framed(name, packed(message))


def framed(name: str, body: Any) -> Resource:
    """Frame a message that is wrapped already: its version is the hash of its bytes."""
    version = blake2b(body.value, digest_size=8).hexdigest()
    frame = Frame(name=name, version=version, resource=body)
    return Resource(name, version, frame.SerializeToString(deterministic=True))


def tunnel_protocol(
    interval: Duration | None = None, timeout: Duration | None = None
) -> Http2ProtocolOptions:
    """HTTP/2 that carries CONNECT; with *interval* it notices a peer that is silent for *timeout*."""
    options = Http2ProtocolOptions(
        allow_connect=True,
        max_concurrent_streams=MOST_STREAMS,
        initial_stream_window_size=STREAM_WINDOW,
        initial_connection_window_size=CONNECTION_WINDOW,
    )
    if interval is not None:
        keepalive = KeepaliveSettings(interval=interval, timeout=timeout, connection_idle_interval=interval)
        keepalive.interval_jitter.SetInParent()  # none, where leaving it out means 15 %
        options.connection_keepalive.CopyFrom(keepalive)
    return options


def seconds(value: float) -> Duration:
    """A duration of *value* seconds."""
    whole = int(value)
    return Duration(seconds=whole, nanos=round((value - whole) * 1e9))


def socket_address(address: str, port: int) -> Address:
    """An IP address and port."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))


def transport_socket(name: str, config: Message) -> TransportSocket:
    """A transport socket of *name*."""
    return TransportSocket(name=name, typed_config=packed(config))


def untyped(type_url: str, fields: Json) -> Any:
    """A message that xds-protos does not have yet, as its type's URL and its fields."""
    struct = TypedStruct(type_url=f"type.googleapis.com/{type_url}")
    struct.value.update(fields)
    return packed(struct)
