"""A clusterset without IPv4: hub, agents, gateways, workloads, endpoints and VIPs have IPv6 addresses alone.

West offers a service and has its gateway beside its agent; east calls, by a gateway on a machine of its own.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from federation.demo.topology import Lab
from tests.system.machine import Machine, eventually, minted

pytestmark = [pytest.mark.netns, pytest.mark.envoy, pytest.mark.slow, pytest.mark.xdist_group("readme")]

HUB, WEST, EAST = "2001:db8::1", "2001:db8::10", "2001:db8::20"
AGENT, EDGE, APP = "fd00::1", "fd00::2", "fd00::11"
VIPS = "fd5f:ed:6a7e::/112"
CATALOG = "http://catalog.shop.svc.clusterset.local:8080/"

OFFERED = '{namespace: shop, name: catalog, ports: [{port: 8080, name: http}], endpoints: ["fd00::11"]}'


def source(offered: str, gateway: str) -> str:
    """What a cluster says: *offered* is a service or nothing, *gateway* is where peers dial."""
    return f"""
services: [{offered}]
workloads: [{{namespace: shop, name: frontend, addresses: ["{APP}"]}}]
gateways: [{{name: gw-1, addresses: ["{gateway}"]}}]
"""


class World:
    """The machines, plugged in."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        names = ("hub", "west", "west-app", "east", "east-edge", "east-app")
        made = {name: Machine(lab.host(name), folder / name) for name in names}
        self.hub, self.west, self.west_app, self.east, self.edge, self.east_app = made.values()
        outside = {self.hub: HUB, self.west: WEST, self.edge: EAST, self.east: "2001:db8::21"}
        lab.connect("net", {machine.host: [f"{address}/64"] for machine, address in outside.items()})
        for name, inside in (
            ("west-lan", {self.west: AGENT, self.west_app: APP}),
            ("east-lan", {self.east: AGENT, self.edge: EDGE, self.east_app: APP}),
        ):
            lab.connect(name, {machine.host: [f"{address}/64"] for machine, address in inside.items()})
        for app, gateway, via in ((self.west_app, self.west, AGENT), (self.east_app, self.edge, EDGE)):
            app.host.route(VIPS, via=via)
            app.host.name_servers(AGENT)
            gateway.host.capture(VIPS)


@pytest.fixture
def world(short_path: Path) -> Iterator[World]:
    with Lab(short_path) as lab:
        if not lab.ipv6:
            pytest.skip("the kernel has no IPv6")
        yield World(lab, short_path)


def test_a_clusterset_without_ipv4_joins_enrols_resolves_and_calls(world: World) -> None:
    hub, west, east, edge = world.hub, world.west, world.east, world.edge
    (hub.folder / "admin").touch(mode=0o600)
    (hub.folder / "admin").write_text("s3cret-s3cret-s3cret-s3cret-s3cret")
    hub.type_in_background(
        f"fedgate hub --advertise [{HUB}] --vip-range {VIPS} "
        "--admin-listen [::]:7446 --admin-token-file admin"
    )
    tokens = {
        name: eventually(partial(minted, hub, f"fedgate token create {name}")) for name in ("west", "east")
    }
    (west.folder / "west.yaml").write_text(source(OFFERED, WEST))
    (east.folder / "east.yaml").write_text(source("", EAST))
    west.type_in_background(
        f"echo {tokens['west']} | fedgate join --source west.yaml --dns-listen [{AGENT}]:53"
    )
    west.type_in_background("fedgate gateways run --name gw-1")
    east.type_in_background(
        f"echo {tokens['east']} | fedgate join --source east.yaml --dns-listen [::]:53 "
        "--enrol-listen [::]:7447 --ads-listen [::]:7448"
    )
    line = eventually(partial(enrolling, east))
    edge.type_in_background(f"{line} --listen {EAST}")
    world.west_app.type_in_background(
        "echo catalog of west > index.html; python -m http.server 8080 --bind ::"
    )

    for app in (world.east_app, world.west_app):
        assert eventually(partial(app.type, f"curl --silent --fail {CATALOG}")) == "catalog of west\n"
    assert "0 failed, 0 warned" in eventually(partial(east.type, "fedgate check"))
    resolved = east.type("fedgate resolve catalog.shop.svc.clusterset.local")
    assert "fd5f:ed:6a7e::1" in resolved
    (west.folder / "admin").touch(mode=0o600)
    (west.folder / "admin").write_text((hub.folder / "admin").read_text())
    listed = west.type(
        f"fedgate clusters --hub https://[{HUB}]:7446 --admin-token-file admin "
        "--ca-file $FEDGATE_HOME/agent/roots.pem"
    )
    assert [row.split()[0] for row in listed.splitlines()[1:]] == ["east", "west"]


def enrolling(agent: Machine) -> str:
    """The line that lets a gateway enrol, when its agent is there."""
    line = agent.type("fedgate gateways token gw-1").strip()
    assert line.startswith("echo fgg1.")
    return line
