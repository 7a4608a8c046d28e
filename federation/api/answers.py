"""Documents that hub and agent both give: the same question has the same answer in the same form."""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from clusters.carriage import Carriage, carriage
from clusters.health import Standing
from clusters.model import Import, Offer, Offering
from clusters.names import ServiceName
from clusters.services import Port
from clusters.staleness import CONNECTED, Judgement
from federation.health.standings import Standings


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    hint: str = ""


def _unknown(_: ServiceName) -> dict[str, object]:
    """Endpoints stay local: only the agent of a cluster knows those that are there."""
    return {}


def _heard_of(_: Offering) -> Judgement:
    return CONNECTED


def services_document(
    imports: Iterable[Import],
    vips: Callable[[Import], tuple[str, ...]],
    standing: Callable[[Offering], Judgement] = _heard_of,
    endpoints: Callable[[ServiceName], dict[str, object]] = _unknown,
) -> dict[str, object]:
    """The services of the clusterset, by name, each exporter with its *standing*.

    *endpoints* adds to each what is known of those here.
    """
    by_name = sorted(imports, key=lambda imported: imported.service)
    return {"services": [_service(i, vips(i), standing) | endpoints(i.service) for i in by_name]}


def endpoints_document(offer: Offer, standings: Standings, service: ServiceName) -> dict[str, object]:
    """The endpoints that this cluster has for *service*, each with its state, and whom it lets call them.

    `state` is `ready` or `down` by the last check, or `believed` if there was none.
    """
    offered, known = offer.services.get(service), standings.of(service)
    if offered is None:
        return {}
    endpoints = [_endpoint(address, known.get(address)) for address in offered.endpoints]
    return {"endpoints": endpoints, "allow": [pattern.text for pattern in offered.allow]}


def _endpoint(address: str, standing: Standing | None) -> dict[str, object]:
    if standing is None:
        return {"address": address, "state": "believed", "since": None, "reason": "its service has no check"}
    since = standing.since if standing.checked else None
    return {"address": address, "state": standing.state, "since": since, "reason": standing.reason}


def _service(
    imported: Import, vips: tuple[str, ...], standing: Callable[[Offering], Judgement]
) -> dict[str, object]:
    return {
        "namespace": imported.service.namespace,
        "name": imported.service.name,
        "dns_name": imported.service.dns_name,
        "vips": vips,
        "ports": [_port(port, carriage(port, passthrough=imported.passthrough)) for port in imported.ports],
        "passthrough": imported.passthrough,
        "clusters": [_offering(offering, standing(offering)) for offering in imported.offerings],
        "policy": imported.policy,
        "conflict": imported.conflict,
    }


def _port(port: Port, carried: Carriage) -> dict[str, object]:
    return {
        "number": port.number,
        "name": port.name,
        "protocol": port.protocol,
        "app_protocol": port.app_protocol,
        "carried": carried is not Carriage.NONE,
        "carriage": carried,
    }


def _offering(offering: Offering, standing: Judgement) -> dict[str, object]:
    """`weight` counts where the service's policy is Weighted; `staleness` is for when the cluster is away."""
    return {
        "name": offering.cluster,
        "ready_endpoints": offering.ready_endpoints,
        "weight": offering.weight,
        "state": standing.state,
        "reason": standing.reason,
        "staleness": {"policy": offering.staleness.policy, "after_seconds": offering.staleness.after},
    }
