"""How much a gateway takes on before it refuses more: memory, connections, and one member's share of them.

What Envoy's guide for the edge asks for, with the numbers that tunnels need (docs/decisions/limits.md). A
limit that is hit refuses what is new; what is under way goes on, but for streams that hold much memory.
"""

from typing import Final

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.overload.v3.overload_pb2 import (
    BufferFactoryConfig,
    LoadShedPoint,
    OverloadAction,
    OverloadManager,
    ResourceMonitor,
    ScaledTrigger,
    ThresholdTrigger,
    Trigger,
)
from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2 import (
    DownstreamConnectionsConfig,
)
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from google.protobuf.wrappers_pb2 import UInt64Value

from gateway.filters import network_filter
from gateway.messages import packed, seconds

DEFAULT_MEMORY: Final = 1 << 30
LEAST_MEMORY: Final = 64 << 20
"""In bytes. An Envoy with nothing to do takes a third of the least."""

REACHED: Final = {
    "downstream_global_cx_overflow": "connections",
    "limited_connections": "connections of one member",
    "shed_load_count": "memory: connections and calls were refused",
    "reset_high_memory_stream.count": "memory: streams were reset",
}
"""How the counters end that grow when a limit is hit, and which limit that is."""

_HEAP: Final = "envoy.resource_monitors.fixed_heap"

# Streams that hold 2 to the power of this, 1 MiB, or more may be reset.
_LARGE_STREAM: Final = 20

# New calls are turned away, each at the first place that it comes to.
_SHED_AT: Final = (
    "envoy.load_shed_points.tcp_listener_accept",
    "envoy.load_shed_points.http_connection_manager_decode_headers",
)


def overload_manager(memory: int, connections: int) -> OverloadManager:
    """Refuse what is new before *memory*, bytes of Envoy's heap, or *connections* run out.

    From 85 % of the memory on the largest streams are reset, from 90 % what is free is given back, and from
    95 % on nothing new is taken: an ingress then answers a tunnel with 503, which is asked for elsewhere.
    """
    return OverloadManager(
        refresh_interval=seconds(0.25),
        resource_monitors=[
            ResourceMonitor(name=_HEAP, typed_config=packed(FixedHeapConfig(max_heap_size_bytes=memory))),
            ResourceMonitor(
                name="envoy.resource_monitors.global_downstream_max_connections",
                typed_config=packed(
                    DownstreamConnectionsConfig(max_active_downstream_connections=connections)
                ),
            ),
        ],
        buffer_factory_config=BufferFactoryConfig(minimum_account_to_track_power_of_two=_LARGE_STREAM),
        actions=[
            OverloadAction(
                name="envoy.overload_actions.reset_high_memory_stream",
                triggers=[
                    Trigger(
                        name=_HEAP, scaled=ScaledTrigger(scaling_threshold=0.85, saturation_threshold=0.95)
                    )
                ],
            ),
            OverloadAction(name="envoy.overload_actions.shrink_heap", triggers=[_above(0.9)]),
        ],
        loadshed_points=[LoadShedPoint(name=name, triggers=[_above(0.95)]) for name in _SHED_AT],
    )


def share(member: str, connections: int) -> Filter:
    """Let *member* have half of all *connections* at most: others are not shut out by one alone."""
    half = UInt64Value(value=max(1, connections // 2))
    return network_filter(
        "envoy.filters.network.connection_limit", ConnectionLimit(stat_prefix=member, max_connections=half)
    )


def _above(threshold: float) -> Trigger:
    return Trigger(name=_HEAP, threshold=ThresholdTrigger(value=threshold))
