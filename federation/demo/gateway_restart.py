"""The scenario `gateway-restart`: two gateways in each cluster, ended and started again one after the other.

A gateway that is told to end is first no longer answered with by DNS, nor dialled by peers; then it turns new
connections away, gives the open ones their time, and ends. The callers' routes never change: half of the
VIPs lead to each gateway.
"""

from concurrent.futures import ThreadPoolExecutor

from federation.demo.fleet import Fleet
from federation.demo.scenario import Report, raise_clusters
from federation.demo.stage import Stage
from federation.demo.under_load import load, want_no_failure
from federation.errors import CannotDemonstrate

_A_WHILE = 2.0
# A connection that was opened just before a gateway was told to end is open until long after callers have
# gone elsewhere, and ends by itself within the gateway's drain time.
_KEPT_SECONDS = 12.0
_DRAIN_SECONDS = 10.0


def show_gateway_restart(fleet: Fleet, stage: Stage, report: Report) -> None:
    """No call may be lost, and no open connection cut before its time."""
    onprem, cloud = fleet.world.sites
    if len(onprem.fronts) < 2:
        hint = "the reason is above"
        raise CannotDemonstrate("two gateways of one cluster need hosts of their own", hint)
    fleet.drain_seconds = _DRAIN_SECONDS
    raise_clusters(fleet, stage, report)
    pairs = [(onprem, cloud), (cloud, onprem)]
    with (
        load(fleet, stage, report, pairs, kept_seconds=_KEPT_SECONDS) as loads,
        ThreadPoolExecutor(2) as both,
    ):
        loads.go_on(_A_WHILE)
        for fronts in zip(onprem.fronts, cloud.fronts, strict=True):
            name = fronts[0].name
            with stage.step(f"{name} of both clusters ends, and starts again") as step:
                list(both.map(fleet.roll_gateway, (onprem, cloud), fronts))
                loads.go_on(_A_WHILE)
                step.says = f"{name} of both clusters was drained, and runs again"
        loads.until_enough()
    want_no_failure(report)
