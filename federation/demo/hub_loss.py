"""The scenario `hub-loss`: the hub is killed, an agent is handed over meanwhile, the hub comes back."""

from federation.client import Admin, endpoint
from federation.demo.fleet import Fleet
from federation.demo.scenario import Report, raise_clusters
from federation.demo.stage import Stage
from federation.demo.under_load import load, want_no_failure
from federation.demo.world import Site

_A_WHILE = 2.0


def show_hub_loss(fleet: Fleet, stage: Stage, report: Report) -> None:
    """No call may notice any of it."""
    onprem, cloud = fleet.world.sites
    raise_clusters(fleet, stage, report)
    with load(fleet, stage, report, [(onprem, cloud), (cloud, onprem)]) as loads:
        loads.go_on(_A_WHILE)
        with stage.step("kill -9 of the hub") as step:
            fleet.kill(fleet.running("hub"))
            _wait_linked(fleet, onprem, linked=False)
            loads.go_on(_A_WHILE)
            step.says = "the hub was killed; both clusters go on without it"
        with stage.step("onprem: fedgate agent --take-over") as step:
            fleet.take_over(onprem)
            loads.go_on(_A_WHILE)
            step.says = "onprem's agent was replaced by a new one, which has never seen the hub"
        with stage.step("fedgate hub") as step:
            fleet.start_hub()
            for site in (onprem, cloud):
                _wait_linked(fleet, site, linked=True)
            step.says = "the hub is back, and both agents are connected to it again"
        loads.go_on(_A_WHILE)
        loads.until_enough()
    want_no_failure(report)


def _wait_linked(fleet: Fleet, site: Site, *, linked: bool) -> None:
    """Wait until *site*'s agent says that it is connected to the hub, or that it is not."""
    admin = Admin(endpoint("agent", str(fleet.agent_state(site))), 2)

    def is_so() -> bool | None:
        hub = admin.get("/v1/status").get("hub")
        return True if isinstance(hub, dict) and hub.get("connected") is linked else None

    agent = fleet.running(f"{site.cluster}-agent")
    fleet.wait_for(f"{agent.name} is{'' if linked else ' not'} connected to the hub", is_so, [agent])
