"""The scenario `mass-loss`: after a restart of its agent a cluster's source has lost most services.

Nobody said that they are to go, so they go on to be offered and called, until somebody says so.
"""

import json
from typing import Final

import yaml

from federation.demo.fleet import Fleet
from federation.demo.scenario import Report, raise_clusters
from federation.demo.stage import Stage
from federation.demo.under_load import Loads, load, want_no_failure
from federation.demo.world import Site

OTHERS: Final = 9
_A_WHILE: Final = 3.0


def show_mass_loss(fleet: Fleet, stage: Stage, report: Report) -> None:
    """No call may notice, and nothing may be lost before it is accepted."""
    onprem, cloud = fleet.world.sites
    raise_clusters(fleet, stage, report)
    with stage.step(f"cloud offers {OTHERS} more services") as step:
        _write(fleet, cloud, OTHERS)
        _wait_offered(fleet, cloud, OTHERS + 1, 0)
        step.says = f"cloud offers {OTHERS + 1} services"
    with load(fleet, stage, report, [(onprem, cloud)], new=60.0) as loads:
        loads.go_on(_A_WHILE)
        with stage.step("cloud's agent is killed, and most is gone from its source when it is back") as step:
            fleet.kill(fleet.running(f"{cloud.cluster}-agent"))
            _write(fleet, cloud, 2, called=False)
            fleet.restart_agent(cloud)
            _wait_offered(fleet, cloud, OTHERS + 1, OTHERS - 1)
            step.says = f"{OTHERS - 1} of cloud's services are gone from its source, and are held back"
        loads.go_on(_A_WHILE)
        loads.until_enough()
        _note_checks(fleet, stage, loads)
    with stage.step("fedgate clusters accept cloud") as step:
        _hub(fleet, "clusters", "accept", cloud.cluster)
        _wait_offered(fleet, cloud, 2, 0)
        step.says = "it was accepted: cloud offers two services"
    report.figures |= {"services_held_back": OTHERS - 1, "services_lost": 0}
    want_no_failure(report)


def _write(fleet: Fleet, site: Site, others: int, *, called: bool = True) -> None:
    """Have *site* offer so many services beside the one that is *called*."""
    source = site.source()
    if not called:
        source["services"] = []
    for n in range(others):
        (service,) = site.source()["services"]  # made anew, as YAML would say of the same that it is
        source["services"].append({**service, "name": f"other-{n}"})
    fleet.write_source(site, yaml.safe_dump(source, sort_keys=False, default_flow_style=None))


def _wait_offered(fleet: Fleet, site: Site, services: int, held_back: int) -> None:
    """Wait until the hub says that *site* offers so many services, of which so many are held back."""

    def is_so() -> bool | None:
        (cluster,) = [c for c in _hub(fleet, "clusters", "list")["clusters"] if c["name"] == site.cluster]
        withheld = cluster["withheld"]
        held = withheld["services"] if isinstance(withheld, dict) else 0
        found = cluster["services"], held
        return True if found == (services, held_back) else None

    fleet.wait_for(f"the hub has {services} services of {site.cluster}", is_so, fleet.control)


def _note_checks(fleet: Fleet, stage: Stage, loads: Loads) -> None:
    """Show what `fedgate check` says of it."""
    loads.go_on(0)
    for check in _hub(fleet, "check")["checks"]:
        if check["name"] == "withdrawal":
            stage.note(str(check["detail"]))


def _hub(fleet: Fleet, *words: str) -> dict[str, list[dict[str, object]]]:
    said = fleet.run_fedgate(fleet.world.hub, [*words, "--hub", str(fleet.hub_state), "-o", "json"])
    answer: dict[str, list[dict[str, object]]] = json.loads(said)
    return answer
