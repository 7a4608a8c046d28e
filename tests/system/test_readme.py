"""README, typed by a newcomer: a hub and two clusters on machines of their own, line by line."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from federation.demo.topology import Lab
from tests import readme
from tests.system.machine import Machine, eventually, minted

pytestmark = [pytest.mark.netns, pytest.mark.envoy, pytest.mark.xdist_group("readme")]

HUB = "192.0.2.1"
GATEWAYS = {"west": "192.0.2.10", "east": "192.0.2.20"}
VIPS = "241.0.0.0/16"


@pytest.fixture
def lab(short_path: Path) -> Iterator[Lab]:
    with Lab(short_path) as lab:
        yield lab


def test_the_lines_of_readme_join_two_clusters_and_call_across(lab: Lab, short_path: Path) -> None:
    hub_lines, join_lines, call_lines = (block.splitlines() for block in readme.blocks("console")[2:5])
    hub = Machine(lab.host("hub"), short_path / "hub")
    gateways = {name: Machine(lab.host(name), short_path / name) for name in GATEWAYS}
    on_the_net = {hub.host: [f"{HUB}/24"]}
    lab.connect("net", on_the_net | {m.host: [f"{GATEWAYS[n]}/24"] for n, m in gateways.items()})
    apps = {name: inside(lab, name, machine, short_path) for name, machine in gateways.items()}

    start, mint = typed(hub_lines)
    hub.type_in_background(start.replace("hub.example", HUB))
    tokens = {n: eventually(partial(minted, hub, mint.replace("west", n))) for n in GATEWAYS}
    for name, machine in gateways.items():
        (machine.folder / f"{name}.yaml").write_text(source(name))
        for line in typed(join_lines):
            line = line.replace("west", name)
            if line.startswith("echo "):
                line = f"echo {tokens[name]} |{line.partition('|')[2]}"
            (machine.type_in_background if line.endswith("&") else machine.type)(line)

    call, check = typed(call_lines)
    for name, app in apps.items():
        assert eventually(partial(app.type, f"{call} --silent --fail")) == "catalog of west\n", name
    assert "0 failed, 0 warned" in eventually(partial(gateways["west"].type, check))


def inside(lab: Lab, name: str, gateway: Machine, folder: Path) -> Machine:
    """The machine of the cluster's applications, set up as README says; in west it runs the catalog too."""
    app = Machine(lab.host(f"{name}-app"), folder / f"{name}-app")
    own = ["10.0.0.11/24", "10.0.0.21/24", "10.0.0.22/24"]
    lab.connect(f"{name}-lan", {gateway.host: ["10.0.0.1/24"], app.host: own})
    app.host.route(VIPS, via="10.0.0.1")
    app.host.name_servers("10.0.0.1")
    if name == "west":
        (app.folder / "index.html").write_text("catalog of west\n")
        app.type_in_background("python -m http.server 8080 &")
    return app


def source(name: str) -> str:
    """The source file of README; another cluster than west offers nothing, and has its own gateway."""
    west = readme.blocks("yaml")[0]
    if name == "west":
        return west
    head, _, rest = west.partition("workloads:")
    assert "services:" in head
    return "services: []\nworkloads:" + rest.replace(GATEWAYS["west"], GATEWAYS[name])


def typed(block: list[str]) -> list[str]:
    return [line.removeprefix("$ ") for line in block if line.startswith("$ ")]
