"""Gateways that are known by name: dialled where the name leads to now."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from federation.commands.answers import items, record
from federation.demo.fleet import environment
from tests.system import name_server
from tests.system.cluster import Cluster, host_of, kill, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.xdist_group("outages")]

HERE, NOBODY = "192.0.2.20", "192.0.2.99"


@contextmanager
def named(fed: Federation, caller: Cluster) -> Iterator[Path]:
    """Every name leads *caller*'s gateway to the address in the file that this gives; at first to HERE."""
    file, host = fed.fleet.folder / "named", host_of(caller.site.gateway)
    file.write_text(HERE)
    argv = [sys.executable, "-P", name_server.__file__, "127.0.0.1", str(file)]
    log = fed.fleet.folder / "logs" / "name-server.log"
    server = host.start(argv, log=log, environment=environment())
    until("the name server listens", lambda: "ready" in log.read_text())
    host.name_servers("127.0.0.1")
    kill(caller.gateway)
    caller.start_gateway()
    try:
        yield file
    finally:
        host.name_servers()
        kill(server)


def found(cluster: Cluster, other: Cluster) -> set[tuple[object, object]]:
    """Where the gateway of *cluster* dials that of *other*, and whether it lives there."""
    probes = map(record, items(cluster.gateways()["gw-1"]["probes"]))
    return {(probe["address"], probe["up"]) for probe in probes if probe["cluster"] == other.name}


def test_a_gateway_is_found_where_its_name_leads_to_now(frail: Federation) -> None:
    onprem, cloud = frail.clusters
    with named(frail, onprem) as file, cloud.edited() as there:
        there["gateways"][0]["addresses"] = ["gw.cloud.example"]
        cloud.write(there)
        until("the name is resolved", lambda: found(onprem, cloud) == {(f"{HERE}:15008", True)})
        until("it is dialled", onprem.reaches, cloud)
        file.write_text(NOBODY)
        until("the name is resolved again", lambda: found(onprem, cloud) == {(f"{NOBODY}:15008", False)})
        assert not onprem.reaches(cloud)
        file.write_text(HERE)
        until("and again", lambda: found(onprem, cloud) == {(f"{HERE}:15008", True)})
        until("it is dialled again", onprem.reaches, cloud)
    until("it is dialled by its addresses", onprem.reaches, cloud)
