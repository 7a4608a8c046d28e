"""Every scenario by its name: what `fedgate demo --scenario` can show."""

from collections.abc import Callable

from federation.demo.evict import show_evict
from federation.demo.failover import show_failover
from federation.demo.fleet import Fleet
from federation.demo.gateway_restart import show_gateway_restart
from federation.demo.hub_failover import HUBS, show_hub_failover
from federation.demo.hub_loss import show_hub_loss
from federation.demo.mass_loss import show_mass_loss
from federation.demo.partition import show_partition
from federation.demo.root_rollover import show_root_rollover
from federation.demo.rotation import show_rotation
from federation.demo.scenario import Report, show_calls
from federation.demo.stage import Stage
from federation.demo.world import Shape

SCENARIOS: dict[str, Callable[[Fleet, Stage, Report], None]] = {
    "calls": show_calls,
    "failover": show_failover,
    "hub-loss": show_hub_loss,
    "hub-failover": show_hub_failover,
    "gateway-restart": show_gateway_restart,
    "evict": show_evict,
    "partition": show_partition,
    "mass-loss": show_mass_loss,
    "rotation": show_rotation,
    "root-rollover": show_root_rollover,
}

SHAPES = {
    "failover": Shape(edge=True, alike=True),
    "hub-failover": Shape(hubs=HUBS),
    "gateway-restart": Shape(gateways=2),
    "evict": Shape(edge=True),
    "partition": Shape(edge=True, alike=True),
    "root-rollover": Shape(gateways=2),
}
"""The worlds of scenarios that need one of their own."""

PROGRAMS = {
    "hub-failover": {"etcd": "`apt-get install etcd-server` has one; any etcd from 3.4 on will do"},
}
"""Programs beside Envoy that a scenario needs, each with where it is found."""
