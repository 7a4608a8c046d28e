"""The scenario `hub-failover`: three hubs, each with a member of one etcd, are killed and replaced in turn.

While a hub and the etcd beside it are dead, and while a hub is replaced by a new one, a cluster offers one
service more. It has to arrive in the other cluster, by the hubs that are left, and no call may notice it.
"""

import secrets
import signal
import time
from collections.abc import Sequence
from typing import Final

import yaml

from federation.client import Admin, endpoint
from federation.demo.etcd import etcd_command
from federation.demo.fleet import Fleet
from federation.demo.process import Process
from federation.demo.scenario import Report, raise_clusters
from federation.demo.seen import known, records
from federation.demo.stage import Stage
from federation.demo.under_load import Loads, load, want_no_failure
from federation.demo.world import Site, at
from federation.table import Record, text

HUBS: Final = 3
LONGEST_TO_ARRIVE: Final = 30.0
_NAMES: Final = ("hub", "hub-2", "hub-3")
_A_WHILE: Final = 2.0
_PATIENCE: Final = 90.0


def show_hub_failover(fleet: Fleet, stage: Stage, report: Report) -> None:
    """No call may fail, and no registration may be lost."""
    onprem, cloud = fleet.world.sites
    with stage.step("an etcd of three members") as step:
        for name in _NAMES:
            _start_etcd(fleet, name)
        fleet.hub_options = (*fleet.hub_options, *_store(fleet))
        step.says = "an etcd of three members is up, one beside each hub"
    raise_clusters(fleet, stage, report)
    with stage.step("fedgate hub, on two more machines") as step:
        for name in _NAMES[1:]:
            fleet.start_hub(name)
        _wait_for_hubs(fleet, _NAMES)
        step.says = "three hubs are one federation; the agents have joined when there was one"
    arrivals: list[dict[str, object]] = []
    with load(fleet, stage, report, [(onprem, cloud), (cloud, onprem)]) as loads:
        loads.go_on(_A_WHILE)
        for name in _NAMES:
            with stage.step(f"kill -9 of {name} and of the etcd beside it") as step:
                leader = _elected(fleet)
                for program in (name, _etcd(name)):
                    fleet.kill(fleet.running(program))
                seconds = _offer_one_more(fleet, loads, onprem, cloud, len(arrivals) + 1)
                arrivals.append(
                    {"while": f"{name} was killed", "elected": leader == name, "seconds": seconds}
                )
                step.says = (
                    f"{name} is dead; a new service of cloud was known in onprem after {seconds:.1f} s"
                )
            with stage.step(f"{name} starts again") as step:
                _start_etcd(fleet, name)
                _start_hub(fleet, loads, name)
                step.says = f"{name} is back; {_elected(fleet)} is elected"
        for name in _NAMES:
            with stage.step(f"{name} is replaced, as by another version") as step:
                leader, hub = _elected(fleet), fleet.running(name)
                hub.signal(signal.SIGTERM)
                seconds = _offer_one_more(fleet, loads, onprem, cloud, len(arrivals) + 1)
                arrivals.append(
                    {"while": f"{name} was replaced", "elected": leader == name, "seconds": seconds}
                )
                _end(fleet, loads, hub)
                _start_hub(fleet, loads, name)
                step.says = f"{name} was replaced; a new service was known after {seconds:.1f} s"
        loads.go_on(_A_WHILE)
        loads.until_enough()
    longest = max(float(str(each["seconds"])) for each in arrivals)
    report.figures |= {"registrations": arrivals, "longest_registration_seconds": longest}
    if longest > LONGEST_TO_ARRIVE:
        report.problems.append(f"a registration took {longest:.1f} s, want at most {LONGEST_TO_ARRIVE:g} s")
    want_no_failure(report)


# --- hubs and their store


def _etcd(name: str) -> str:
    return name.replace("hub", "etcd")


def _start_etcd(fleet: Fleet, name: str) -> None:
    """Start the member beside the hub *name*; it goes on with what it has."""
    ports, places = fleet.world.ports, dict(zip(_NAMES, fleet.world.hubs, strict=True))
    members = {each: f"http://{at(address, ports.etcd_peer)}" for each, (_, address) in places.items()}
    machine, address = places[name]
    client = f"http://{at(address, ports.etcd)}"
    argv = etcd_command(name, fleet.folder / _etcd(name), client, members)
    fleet.start(_etcd(name), machine, argv)


def _store(fleet: Fleet) -> Sequence[str]:
    """The hubs' options for it."""
    passphrase = fleet.folder / "hubs.passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_hex(16))
    members = ",".join(at(address, fleet.world.ports.etcd) for _, address in fleet.world.hubs)
    return ("--store", f"etcd://{members}/demo", "--passphrase-file", str(passphrase))


def _start_hub(fleet: Fleet, loads: Loads, name: str) -> None:
    fleet.start_hub(name)
    loads.go_on(0)
    _wait_for_hubs(fleet, _NAMES)


def _end(fleet: Fleet, loads: Loads, hub: Process) -> None:
    """Wait until *hub*, which was told to end, has ended."""
    loads.wait(f"{hub.name} has ended", lambda: hub.returncode is not None, _PATIENCE)
    fleet.forget(hub)


def _wait_for_hubs(fleet: Fleet, names: Sequence[str]) -> None:
    """Wait until each of *names* knows all of them, and which one is elected."""

    def all_known() -> bool | None:
        seen = [_hubs(fleet, name) for name in names]
        known = all({text(hub.get("name")) for hub in hubs} == set(names) for hubs in seen)
        return True if known and all(any(hub.get("leader") for hub in hubs) for hubs in seen) else None

    running = [fleet.running(name) for name in names]
    fleet.wait_for("all hubs know each other", all_known, running, _PATIENCE)


def _elected(fleet: Fleet) -> str:
    """The hub that is elected, as some hub that runs knows it."""
    return next((text(h.get("name")) for n in _NAMES for h in _hubs(fleet, n) if h.get("leader")), "")


def _hubs(fleet: Fleet, name: str) -> list[Record]:
    return records(Admin(endpoint("hub", str(fleet.folder / name)), 5).get("/v1/hubs").get("hubs"))


# --- what is offered meanwhile


def _offer_one_more(fleet: Fleet, loads: Loads, here: Site, there: Site, number: int) -> float:
    """Have *there* offer so many services beside its own; how many seconds until *here*'s agent knows it."""
    source = there.source()
    for n in range(1, number + 1):
        (service,) = there.source()["services"]
        source["services"].append({**service, "name": f"added-{n}"})
    began = time.monotonic()
    fleet.write_source(there, yaml.safe_dump(source, sort_keys=False, default_flow_style=None))
    what = f"{here.cluster} knows the new service of {there.cluster}"
    loads.wait(what, lambda: f"added-{number}" in known(fleet, here), _PATIENCE)
    return round(time.monotonic() - began, 2)
