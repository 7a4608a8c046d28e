"""What the demo's sites say of themselves, and that this machine can stand in for all hosts."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from clusters.model import Workload
from clusters.names import ServiceName
from clusters.sources.offer import parse_offer
from federation.demo.machines import ThisMachine
from federation.demo.world import Site, free_port, on_loopback


@pytest.mark.parametrize("side", [0, 1])
def test_an_agent_understands_what_a_site_offers(side: int) -> None:
    site = on_loopback().sites[side]
    offer = parse_offer(yaml.safe_dump(site.source()), "site.yaml")
    assert list(offer.services) == [site.service]
    numbers = [port.port.number for port in offer.services[site.service].ports]
    assert numbers == [site.ports.http, site.ports.grpc, site.ports.tcp]
    assert offer.workloads == (Workload("shop", site.workload, site.callers),)
    assert offer.gateways[0].addresses == site.underlay


def test_sites_on_loopback_share_the_callers_address_and_nothing_else() -> None:
    onprem, cloud = on_loopback().sites
    assert onprem.callers == cloud.callers
    mine, others = own_addresses(onprem), own_addresses(cloud)
    assert mine.isdisjoint(others)


def own_addresses(site: Site) -> set[str]:
    return {*site.underlay, *site.endpoints, *site.dns, *site.vip_ranges}


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_ports_that_somebody_has_are_left_to_them(kind: socket.SocketKind) -> None:
    with socket.socket(type=kind) as taken, ExitStack() as held:
        taken.bind(("127.0.0.1", 0))
        number = int(taken.getsockname()[1])
        assert free_port(number, held) != number


def test_a_site_is_known_by_its_cluster_and_its_workload() -> None:
    onprem, cloud = on_loopback().sites
    assert onprem.caller_id == "spiffe://onprem.fed.example/ns/shop/sa/frontend"
    assert cloud.answers_as == "catalog@cloud"
    assert cloud.service == ServiceName("shop", "catalog")


def test_this_machine_starts_programs_that_it_can_stop(tmp_path: Path) -> None:
    with ThisMachine().start(["sleep", "100"], log=tmp_path / "log", name="sleeper") as process:
        assert Path(f"/proc/{process.pid}").exists()
    assert process.wait() == -15
    assert process.name == "sleeper"
