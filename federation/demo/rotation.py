"""The scenario `rotation`: every certificate below the root is renewed, again and again, under load.

Each round has the hub renew the hub CA and its own certificate, and then each agent its issuing CA and all
SVIDs, as `fedgate rotate --force` does. A new issuing CA is used when all gateways have acknowledged it.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from federation.client import Admin, endpoint
from federation.demo.fleet import Fleet
from federation.demo.scenario import Report, raise_clusters
from federation.demo.stage import Stage
from federation.demo.under_load import load, want_no_failure
from federation.errors import StepFailed
from federation.table import Record, text

ROUNDS = 20
_SVID_LIFETIME = timedelta(minutes=1)
_ANSWERS_WITHIN = 60.0
_WANTED = {"hub": {"hub CA", "hub certificate"}, "agent": {"issuing CA", "SVIDs"}}


def show_rotation(fleet: Fleet, stage: Stage, report: Report, rounds: int = ROUNDS) -> None:
    """No call may notice any of it."""
    onprem, cloud = fleet.world.sites
    fleet.svid_lifetime = _SVID_LIFETIME
    raise_clusters(fleet, stage, report)
    sides = {"hub": fleet.hub_state, **{site.cluster: fleet.agent_state(site) for site in (onprem, cloud)}}
    with load(fleet, stage, report, [(onprem, cloud), (cloud, onprem)]) as loads:
        with stage.step(f"fedgate rotate --force, {rounds} times, at the hub and both agents") as step:
            before = _serials(sides)
            for _ in range(rounds):
                for name, state in sides.items():
                    _rotate(name, state)
                after = _serials(sides)
                if kept := before & after:
                    raise StepFailed(f"{len(kept)} certificates were not renewed")
                before = after
                loads.go_on(0)
            step.says = f"every certificate was renewed {rounds} times: the agents hold {len(before)}"
        loads.go_on(2.0)
        loads.until_enough()
    want_no_failure(report)


def _rotate(name: str, state: Path) -> None:
    """Have one side renew everything; a certificate that it did not renew ends the demo."""
    who = "hub" if name == "hub" else "agent"
    answer = Admin(endpoint(who, str(state)), _ANSWERS_WITHIN).post("/v1/rotate", {"force": True})
    done = {text(item.get("what")) for item in _items(answer, "done")}
    stuck = [*_items(answer, "failed"), *_items(answer, "lagging")]
    if stuck or not _WANTED[who] <= done:
        told = "; ".join(
            f"{text(i.get('what'))} {text(i.get('name'))}: {text(i.get('detail'))}" for i in stuck
        )
        raise StepFailed(f"{name} renewed {', '.join(sorted(done)) or 'nothing'}: {told}")


def _serials(sides: Mapping[str, Path]) -> set[str]:
    """The serial numbers of all certificates below the root that agents hold."""
    held = [
        item
        for name, state in sides.items()
        if name != "hub"
        for item in _items(Admin(endpoint("agent", str(state)), 5.0).get("/v1/certs"), "certs")
    ]
    return {text(item.get("serial")) for item in held if item.get("kind") not in ("root", "JWT key")}


def _items(answer: Record, key: str) -> list[Record]:
    items = answer.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
