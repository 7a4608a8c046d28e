"""What listeners have in common: those with an address, and those within a gateway."""

from collections.abc import Sequence
from typing import Final

from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.socket_option_pb2 import SocketOption
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from google.protobuf.wrappers_pb2 import BoolValue

from gateway.messages import seconds

# How long a call waits for what its gateway has to be told first.
ON_DEMAND_TIMEOUT: Final = seconds(5)

# Of what picks the filter chain: the beginning of a TLS handshake.
_FIRST_BYTES_TIMEOUT: Final = seconds(5)

# SOL_SOCKET/SO_KEEPALIVE, then IPPROTO_TCP/TCP_KEEPIDLE, _INTVL and _CNT, as Linux numbers them.
_KEEPALIVE: Final = [
    SocketOption(level=level, name=name, int_value=value, state=SocketOption.STATE_LISTENING)
    for level, name, value in ((1, 9, 1), (6, 4, 60), (6, 5, 10), (6, 6, 3))
]


def listener(name: str, addresses: Sequence[Address], stats: str) -> Listener:
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
        listener_filters_timeout=_FIRST_BYTES_TIMEOUT,
    )


def internal(name: str, filters: Sequence[Filter]) -> Listener:
    """A listener for connections that this gateway makes to itself.

    What was let in at the outer listener is not counted again.
    """
    return Listener(
        name=name,
        internal_listener=Listener.InternalListenerConfig(),
        filter_chains=[FilterChain(filters=filters)],
        ignore_global_conn_limit=True,
    )
