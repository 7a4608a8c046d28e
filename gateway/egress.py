"""Listeners of an egress: one for each port that services have, and one that opens tunnels.

None of them knows a service or an endpoint, so they hardly ever change, and what changes in them is the
matcher alone (whom and what to let in), which never touches an open connection.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.wrappers_pb2 import UInt32Value
from xds.type.matcher.v3.matcher_pb2 import Matcher

from clusters.carriage import Carriage
from gateway import http, lds, matchers, names
from gateway.filters import identity, network_filter, state, state_value
from gateway.messages import ADS, FOREVER, packed, seconds, socket_address

# All listeners of an egress count together: their numbers have the same names whatever there is to call.
STATS: Final = "egress"

_CONNECT_ATTEMPTS: Final = UInt32Value(value=6)
_BACKOFF: Final = BackoffStrategy(base_interval=seconds(0.01), max_interval=seconds(0.2))


# How each kind of call goes on, once it was let in.
_CHAINS: Final = {Carriage.L4: names.CALLERS, Carriage.L7: names.HTTP}

Door: TypeAlias = Mapping[Carriage, Matcher.OnMatch]


def listener(
    name: str, addresses: Sequence[str], port: int, vips: Mapping[str, Carriage], door: Door
) -> Listener:
    """Take calls to *vips* on *port* through the *door*, and close every other connection at once.

    Both chains are always there: a service that is carried in another way from now on changes the matcher
    alone, and cuts no open connection.
    """
    made = lds.listener(name, [socket_address(address, port) for address in addresses], STATS)
    called = [([vip for vip, how in vips.items() if how is kind], then) for kind, then in door.items()]
    made.filter_chain_matcher.CopyFrom(matchers.by_address(matchers.DESTINATION, *called))
    made.filter_chains.extend([_CALLERS, _HTTP])
    return made


def capture(addresses: Sequence[str], port: int) -> Listener:
    """Where calls arrive that the packet filter leads to *port*: each goes on to the listener of the port
    that it was going to. What has none, or was led here by nobody, is closed at once.
    """
    made = lds.listener(names.CAPTURE, [socket_address(address, port) for address in addresses], STATS)
    made.listener_filters.append(_ORIGINAL_DST)
    made.use_original_dst.value = True
    made.filter_chain_matcher.CopyFrom(Matcher())
    made.filter_chains.append(_CALLERS)
    return made


def handed(listener: Listener) -> Listener:
    """*listener* for calls that arrive elsewhere and are handed to it."""
    made = Listener()
    made.CopyFrom(listener)
    made.bind_to_port.value = False
    return made


def door(sources: Iterable[str]) -> Door:
    """Let the addresses *sources* in: made once, and shared by all listeners of an egress."""
    let_in = list(sources)
    return {
        kind: Matcher.OnMatch(matcher=matchers.by_address(matchers.SOURCE, (let_in, matchers.chain(chain))))
        for kind, chain in _CHAINS.items()
    }


def tunnel() -> Listener:
    """Carry a connection to the gateway that its endpoint names, in an HTTP/2 CONNECT of its own."""
    return lds.internal(names.TUNNEL, [_TUNNEL_STATE, _TUNNEL_PROXY])


def wildcards(families: Iterable[int]) -> list[str]:
    """The addresses to bind for every VIP of the IP versions *families*."""
    return [{4: "0.0.0.0", 6: "::"}[family] for family in sorted(set(families))]  # noqa: S104


def _proxy() -> TcpProxy:
    """Carry bytes to a cluster that comes on demand, for as long as both ends like.

    The cluster in the configuration is never asked for: filter state names another.
    """
    return TcpProxy(
        stat_prefix="tcp",
        cluster="none",
        on_demand=TcpProxy.OnDemand(odcds_config=ADS, timeout=lds.ON_DEMAND_TIMEOUT),
        idle_timeout=FOREVER,
        max_connect_attempts=_CONNECT_ATTEMPTS,
        backoff_options=_BACKOFF,
    )


def _tunnelling() -> TcpProxy:
    proxy = _proxy()
    proxy.tunneling_config.hostname = f"%DYNAMIC_METADATA({names.TUNNEL_METADATA}:authority)%"
    return proxy


_ORIGINAL_DST: Final = ListenerFilter(
    name="envoy.filters.listener.original_dst", typed_config=packed(OriginalDst())
)
_CALLERS: Final = FilterChain(
    name=names.CALLERS,
    filters=[
        state(state_value(names.CLUSTER_KEY, names.CALLED_VIP), identity()),
        network_filter("envoy.filters.network.tcp_proxy", _proxy()),
    ],
)
_HTTP: Final = FilterChain(name=names.HTTP, filters=[state(identity()), http.manager()])
_TUNNEL_STATE: Final = state(
    state_value(names.CLUSTER_KEY, f"%DYNAMIC_METADATA({names.TUNNEL_METADATA}:way)%")
)
_TUNNEL_PROXY: Final = network_filter("envoy.filters.network.tcp_proxy", _tunnelling())
