"""Services that are born, and withdrawn, while everything runs; and what strangers' floods leave behind."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.system import servers
from tests.system.cluster import CROWD, Cluster, resident, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]

FLOOD = 20_000
SOON = 3.0  # seconds; half of one on a machine with nothing else to do


@contextmanager
def offered(cluster: Cluster, name: str) -> Iterator[str]:
    """`shop/NAME`, served by `servers`, for as long as the block runs; gives its DNS name."""
    with cluster.edited() as source:
        port = {"port": servers.WHO, "name": "who"}
        endpoints = list(cluster.site.endpoints)
        source["services"].append(
            {"namespace": "shop", "name": name, "ports": [port], "endpoints": endpoints}
        )
        cluster.write(source)
        yield f"{name}.shop.svc.clusterset.local"


def knows(cluster: Cluster, service: str) -> bool:
    return bool(cluster.caller.resolves(service))


def knows_nothing_of(cluster: Cluster, service: str) -> bool:
    return not knows(cluster, service)


def test_a_service_that_is_born_can_be_called_soon_and_one_that_is_withdrawn_is_gone_soon(
    fed: Federation,
) -> None:
    onprem, cloud = fed.clusters
    with offered(cloud, "fresh") as service:
        began = time.monotonic()
        until("it can be called", onprem.caller.who, service, CROWD[0])
        assert time.monotonic() - began < SOON
        assert knows(cloud, service)
        vip = onprem.vip(service)
    began = time.monotonic()
    for cluster in fed.clusters:
        until("nobody knows it", knows_nothing_of, cluster, service)
    assert time.monotonic() - began < SOON
    until("its address leads nowhere", leads_nowhere, onprem, vip)
    assert onprem.caller.who(cloud.service, CROWD[0])


def leads_nowhere(caller: Cluster, address: str) -> bool:
    return not caller.caller.who(address, CROWD[0])


def footprint(cluster: Cluster) -> dict[str, int]:
    """What a flood could make grow: memory of gateway and agent in MiB, and names the gateway asked for."""
    agent = cluster.agent.pid
    assert agent is not None
    return {
        "gateway": resident(cluster.envoy()) >> 20,
        "agent": resident(agent) >> 20,
        "subscriptions": cluster.subscriptions(),
    }


@pytest.mark.slow
def test_a_flood_of_unknown_addresses_ports_and_names_leaves_nothing_and_one_born_later_works(
    fed: Federation,
) -> None:
    onprem, cloud = fed.clusters
    ports = [servers.WHO, 8080, 12345]
    ipv4 = [f"241.0.{n >> 8}.{n & 255}" for n in range(3, FLOOD)]
    ipv6 = [f"fd5f:ed:6a7e::{n:x}" for n in range(3, FLOOD)]

    def flood(addresses: list[str], source: str, most: int) -> int:
        return onprem.caller.ask(int, "flood", addresses=addresses, ports=ports, source=source, most=most)

    known = [onprem.vip(cloud.service)] * 300
    assert flood(known, CROWD[0], 300) == 200  # WHO and HTTP answer; and pools are filled
    assert flood(ipv4, CROWD[0], 1000) == 0
    before = footprint(onprem)
    assert flood(ipv4, CROWD[0], FLOOD // 2) == 0
    assert flood(ipv6, CROWD[1], FLOOD // 2) == 0
    suffix = "shop.svc.clusterset.local"
    codes = onprem.caller.ask(dict[str, int], "flood_names", server="10.0.0.1", suffix=suffix, most=FLOOD)
    assert codes == {"3": FLOOD}
    after = footprint(onprem)
    assert after["subscriptions"] == before["subscriptions"]
    assert after["gateway"] - before["gateway"] <= 4
    assert after["agent"] - before["agent"] <= 4
    # It gets an address and a name that the flood has asked for in vain.
    with offered(cloud, "x7") as service:
        until("it can be called", onprem.caller.who, service, CROWD[0])
        assert onprem.vip(service) in ipv4
        assert onprem.caller.who(onprem.vip(service, "AAAA"), CROWD[1])
    until("nobody knows it", knows_nothing_of, onprem, service)
