"""Endpoints that are checked: what becomes of calls when one dies, hangs, or says that it is not well."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from clusters.names import ServiceName
from federation import last_view
from federation.demo.fleet import environment
from federation.demo.process import Process
from federation.table import Record
from tests.system import patients
from tests.system.cluster import CROWD, Cluster, host_of, kill, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.xdist_group("outages")]

SERVICE = "clinic.shop.svc.clusterset.local"
CALLS = 8
FINE, HANGING = 200, 0
NOT_YET: Record = {"name": "", "clusters": [], "endpoints": []}


class Patient:
    """An endpoint in *cluster* at an address of its own; `file` says how it is."""

    def __init__(self, fed: Federation, cluster: Cluster, name: str, address: str) -> None:
        self._host = host_of(cluster.site.server)
        self._log = fed.fleet.folder / "logs" / f"patient-{name}.log"
        self._argv = [sys.executable, "-P", patients.__file__, name, address]
        self.file = fed.fleet.folder / f"patient-{name}"
        self.file.unlink(missing_ok=True)
        self.address = address
        length = 64 if ":" in address else 24
        self._host.run(["ip", "address", "replace", f"{address}/{length}", "dev", cluster.name, "nodad"])
        self.process = self.start()

    def start(self) -> Process:
        self.process = self._host.start(
            [*self._argv, str(self.file)], log=self._log, environment=environment()
        )
        return self.process

    def feels(self, status: int) -> None:
        self.file.write_text(str(status))


@contextmanager
def clinic(fed: Federation, health: dict[str, object]) -> Iterator[list[Patient]]:
    """`shop/clinic` with two endpoints in onprem, of both families if there are, and one in cloud."""
    second = "fd00::32" if fed.lab.ipv6 else "10.0.0.32"
    homes = [(fed.onprem, "a1", "10.0.0.31"), (fed.onprem, "a2", second), (fed.cloud, "b1", "10.0.0.31")]
    ill = [Patient(fed, *home) for home in homes]
    often = {"interval": "200ms", "timeout": "1s"}
    try:
        with fed.onprem.edited() as here, fed.cloud.edited() as there:
            for cluster, source, addresses in (
                (fed.onprem, here, [patient.address for patient in ill[:2]]),
                (fed.cloud, there, [ill[2].address]),
            ):
                service = {"namespace": "shop", "name": "clinic", "endpoints": addresses}
                source["services"].append({**service, "ports": [patients.WHO], "health": {**health, **often}})
                cluster.write(source)
            until("all endpoints are ready", ready, fed, 2, 1)
            yield ill
    finally:
        for patient in ill:
            kill(patient.process)


def document(cluster: Cluster) -> Record:
    listed = cluster.admin.get("/v1/services")["services"]
    assert isinstance(listed, list)
    # An agent that has not read its source yet may have heard of the other cluster's offer.
    return next({**NOT_YET, **each} for each in [*listed, NOT_YET] if each["name"] in ("clinic", ""))


def ready(fed: Federation, onprem: int, cloud: int) -> bool:
    """Whether both agents know that so many endpoints take calls, as what was published says, and why."""
    wanted = [{"name": "cloud", "ready_endpoints": cloud}, {"name": "onprem", "ready_endpoints": onprem}]
    for cluster, count in ((fed.onprem, onprem), (fed.cloud, cloud)):
        listed = document(cluster)
        offers, endpoints = listed["clusters"], listed["endpoints"]
        assert isinstance(offers, list)
        assert isinstance(endpoints, list)
        told = [{"name": each["name"], "ready_endpoints": each["ready_endpoints"]} for each in offers]
        states = [each["state"] for each in endpoints]
        if told != wanted or states.count("ready") != count or "believed" in states:
            return False
    return True


def remembered(cluster: Cluster, count: int) -> bool:
    last = last_view.load(cluster.state)
    return last is not None and len(last.offer.services[ServiceName("shop", "clinic")].down) == count


def reason(cluster: Cluster, patient: Patient) -> str:
    endpoints = document(cluster)["endpoints"]
    assert isinstance(endpoints, list)
    return next(str(each["reason"]) for each in endpoints if each["address"] == patient.address)


def answered(fed: Federation) -> set[str]:
    """Who answers calls from onprem, one after the other; `""` stands for a call that failed."""
    return {
        fed.onprem.caller.ask(str, "who", name=SERVICE, port=patients.WHO, source=CROWD[0])
        for _ in range(CALLS)
    }


def answered_by(fed: Federation, *names: str) -> Callable[[], bool]:
    return lambda: answered(fed) == set(names)


def test_calls_leave_an_endpoint_that_is_not_well_and_come_back_and_no_cluster_is_left_for_one(
    frail: Federation,
) -> None:
    onprem = frail.onprem
    with clinic(frail, {"type": "http", "path": "/healthz", "port": patients.HTTP}) as (a1, a2, _):
        until("both at home are called", answered_by(frail, "a1", "a2"))

        a1.feels(500)
        until("one is left at home", ready, frail, 1, 1)
        until("it alone is called", answered_by(frail, "a2"))
        assert reason(onprem, a1) == "answered 500"

        a2.feels(HANGING)
        until("none is left at home", ready, frail, 0, 1)
        until("calls go elsewhere", answered_by(frail, "b1"))
        assert reason(onprem, a2) == "no answer within 1 s"
        assert onprem.reaches(onprem)  # for this service alone

        until("that is on the disk", remembered, onprem, 2)
        kill(onprem.agent)
        onprem.start_agent()
        assert answered(frail) == {"b1"}  # a1 would still answer
        until("the agent has asked both again", ready, frail, 0, 1)

        a1.feels(FINE)
        until("home is called again", answered_by(frail, "a1"))
        a2.feels(FINE)
        until("both are", answered_by(frail, "a1", "a2"))
        until("the hub knows", ready, frail, 2, 1)


@pytest.mark.parametrize(
    "kind", [{"type": "grpc", "port": patients.GRPC}, {"type": "tcp"}], ids=["grpc", "tcp"]
)
def test_one_that_is_killed_is_called_again_once_it_runs_again(
    kind: dict[str, object], frail: Federation
) -> None:
    with clinic(frail, kind) as (a1, a2, _):
        if kind["type"] == "grpc":
            a1.feels(503)
            until("it alone is called", answered_by(frail, "a2"))
            assert reason(frail.onprem, a1) == "NOT_SERVING"
        else:
            kill(a1.process)
        kill(a2.process)
        until("none is left at home", ready, frail, 0, 1)
        assert answered(frail) == {"b1"}
        a2.start()
        until("one is back", answered_by(frail, "a2"))
