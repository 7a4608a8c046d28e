"""How the gateways carry a port: as bytes, or request by request."""

from enum import StrEnum
from typing import Final

from clusters.services import Port, Protocol


class Carriage(StrEnum):
    """What a gateway looks at on the way."""

    L7 = "L7"
    """Each request by itself: HTTP/1, HTTP/2, gRPC, WebSocket."""
    L4 = "L4"
    """Connections, whatever is spoken in them."""
    NONE = "not carried"


# As Kubernetes and its implementations name what is HTTP in the clear; `https` cannot be looked into.
_HTTP: Final = frozenset({"http", "http2", "grpc", "grpc-web", "kubernetes.io/ws", "kubernetes.io/h2c"})
# What a port's name says when nothing else is said: the name itself, or what stands before its first dash.
_HTTP_NAMES: Final = ("http", "http2", "grpc", "grpc-web")


def carriage(port: Port, *, passthrough: bool) -> Carriage:
    """How *port* is carried, of a service that asks for *passthrough* or does not.

    An `appProtocol` is believed whatever it says; without one the port's name is, as in Istio.
    """
    if port.protocol is not Protocol.TCP:
        return Carriage.NONE
    if passthrough:
        return Carriage.L4
    if port.app_protocol is not None:
        return Carriage.L7 if port.app_protocol.lower() in _HTTP else Carriage.L4
    named = any(port.name == name or port.name.startswith(f"{name}-") for name in _HTTP_NAMES)
    return Carriage.L7 if named else Carriage.L4
