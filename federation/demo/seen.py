"""What an agent of the demo says, asked at its admin socket."""

from federation.client import Admin, endpoint
from federation.demo.fleet import Fleet
from federation.demo.world import Site
from federation.table import Json, Record, text


def exporter(fleet: Fleet, at: Site, of: Site) -> Record:
    """*of* as an exporter of its service, as *at*'s agent has it; empty if it is none."""
    for service in records(_agent(fleet, at).get("/v1/services").get("services")):
        for cluster in records(service.get("clusters")):
            if service.get("name") == of.service.name and cluster.get("name") == of.cluster:
                return cluster
    return {}


def probed(fleet: Fleet, at: Site, of: Site) -> set[bool]:
    """Whether the gateways of *of* are up, as *at*'s find it by their probes."""
    gateways = records(_agent(fleet, at).get("/v1/gateways").get("gateways"))
    probes = [probe for gateway in gateways for probe in records(gateway.get("probes"))]
    return {probe.get("up") is True for probe in probes if probe.get("cluster") == of.cluster}


def linked(fleet: Fleet, at: Site) -> bool:
    """Whether *at*'s agent is connected to the hub."""
    hub = _agent(fleet, at).get("/v1/status").get("hub")
    return isinstance(hub, dict) and hub.get("connected") is True


def known(fleet: Fleet, at: Site) -> set[str]:
    """The names of the services that *at*'s agent knows."""
    services = records(_agent(fleet, at).get("/v1/services").get("services"))
    return {text(service.get("name")) for service in services}


def _agent(fleet: Fleet, at: Site) -> Admin:
    return Admin(endpoint("agent", str(fleet.agent_state(at))), 2)


def records(value: Json) -> list[Record]:
    """The objects of a list that was answered."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
