"""The scenario `root-rollover`: a new root takes over from the old one under load, by a hub that keeps dying.

The hub is killed at each step and started again; it goes on where the registry says. Beside both clusters
there is a third one, which is only an agent: that is stopped at first, and the rollover waits for it.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from clusters.identity import ROOTS_FILE
from federation.client import Admin, endpoint
from federation.demo.fleet import Fleet
from federation.demo.scenario import Report, raise_clusters
from federation.demo.stage import Stage
from federation.demo.under_load import Loads, load, want_no_failure
from federation.errors import AdminRefused, StepFailed
from federation.table import Json, Record, text

_PATH: Final = "/v1/ca/rollover"
_HELD_BACK: Final = "edge"
_SVID_LIFETIME: Final = timedelta(seconds=40)
_PATIENCE: Final = 120.0


def show_root_rollover(fleet: Fleet, stage: Stage, report: Report) -> None:
    """No call may notice any of it."""
    onprem, cloud = fleet.world.sites
    fleet.svid_lifetime = _SVID_LIFETIME
    raise_clusters(fleet, stage, report)
    hub = Admin(endpoint("hub", str(fleet.hub_state)), 10)
    with stage.step(f"{_HELD_BACK}: fedgate join") as step:
        edge = fleet.join_bare(_HELD_BACK)
        step.says = f"{_HELD_BACK} has joined; it has an agent and nothing else"
    with load(fleet, stage, report, [(onprem, cloud), (cloud, onprem)]) as loads:
        old = _signing(hub)
        with edge.frozen():
            with stage.step("fedgate ca rollover start, and kill -9 of the hub") as step:
                _take(hub, "start")
                _kill_hub(fleet)
                _wait_for(loads, "all others are ready", lambda: _lagging(hub) == {_HELD_BACK})
                step.says = "both clusters have proved that they trust the new root; the old one signs"
            with stage.step("fedgate ca rollover resume") as step:
                step.says = f"refused: {_refusal(hub, 'resume')}"
        with stage.step("fedgate ca rollover resume, and kill -9 of the hub, before and after") as step:
            _kill_hub(fleet)
            _wait_for(loads, "everybody has proved it", lambda: _next(hub) == "switch")
            _take(hub, "resume")
            _kill_hub(fleet)
            new = _signing(hub)
            step.says = "the new root signs"
        with stage.step("issuing CAs are reissued, and kill -9 of the hub") as step:
            loads.go_on(1.0)
            _kill_hub(fleet)
            _wait_for(loads, "nothing of the old root is left", lambda: _next(hub) == "finish")
            step.says = "nothing of the old root is left"
        with stage.step("fedgate ca rollover finish, and kill -9 of the hub") as step:
            _take(hub, "finish")
            _kill_hub(fleet)
            states = [fleet.agent_state(onprem), fleet.agent_state(cloud), fleet.folder / _HELD_BACK]
            _wait_for(loads, "the old root is gone", lambda: _roots(hub) == [new] and _alone(states))
            step.says = "the old root is retired: no hub and no agent has it any more"
        if new == old:
            report.problems.append("the root is still the same")
        loads.until_enough()
    want_no_failure(report)


def _take(hub: Admin, step: str) -> None:
    hub.post(_PATH, {"step": step})


def _refusal(hub: Admin, step: str) -> str:
    """Why a step is refused; that it is not, ends the demo."""
    try:
        _take(hub, step)
    except AdminRefused as error:
        if _HELD_BACK not in str(error):
            raise StepFailed(f"the refusal does not name {_HELD_BACK}: {error}") from error
        return str(error)
    raise StepFailed(f"the rollover went on without {_HELD_BACK}")


def _kill_hub(fleet: Fleet) -> None:
    fleet.kill(fleet.running("hub"))
    fleet.start_hub()


def _wait_for(loads: Loads, what: str, true: Callable[[], bool]) -> None:
    loads.wait(what, true, _PATIENCE)


def _lagging(hub: Admin) -> set[str]:
    """Who is waited for."""
    parties = _items(hub.get(_PATH).get("parties"))
    return {text(party.get("name")) for party in parties if party.get("state") != "ready"}


def _next(hub: Admin) -> str:
    return text(hub.get(_PATH).get("next"))


def _roots(hub: Admin) -> list[str]:
    return [text(root.get("fingerprint")) for root in _items(hub.get("/v1/ca").get("roots"))]


def _signing(hub: Admin) -> str:
    roots = _items(hub.get("/v1/ca").get("roots"))
    return next(text(root.get("fingerprint")) for root in roots if root.get("signs"))


def _alone(states: list[Path]) -> bool:
    """Whether each agent has one root on its disk."""
    return all((state / ROOTS_FILE).read_text().count("BEGIN CERTIFICATE") == 1 for state in states)


def _items(value: Json) -> list[Record]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
