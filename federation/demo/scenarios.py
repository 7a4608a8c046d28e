"""Every scenario by its name: what `fedgate demo --scenario` can show."""

from collections.abc import Callable

from federation.demo.fleet import Fleet
from federation.demo.gateway_restart import show_gateway_restart
from federation.demo.hub_loss import show_hub_loss
from federation.demo.scenario import Report, show_calls
from federation.demo.stage import Stage

SCENARIOS: dict[str, Callable[[Fleet, Stage, Report], None]] = {
    "calls": show_calls,
    "hub-loss": show_hub_loss,
    "gateway-restart": show_gateway_restart,
}

GATEWAYS = {"gateway-restart": 2}
"""How many gateways a cluster has, where it is not one."""
