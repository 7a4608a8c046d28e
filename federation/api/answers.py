"""Documents that hub and agent both give: the same question has the same answer in the same form."""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from clusters.carriage import Carriage, carriage
from clusters.model import Import, Port


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    hint: str = ""


def services_document(
    imports: Iterable[Import], vips: Callable[[Import], tuple[str, ...]]
) -> dict[str, object]:
    """The services of the clusterset, by name."""
    return {
        "services": [_service(i, vips(i)) for i in sorted(imports, key=lambda imported: imported.service)]
    }


def _service(imported: Import, vips: tuple[str, ...]) -> dict[str, object]:
    return {
        "namespace": imported.service.namespace,
        "name": imported.service.name,
        "dns_name": imported.service.dns_name,
        "vips": vips,
        "ports": [_port(port, carriage(port, passthrough=imported.passthrough)) for port in imported.ports],
        "passthrough": imported.passthrough,
        "clusters": [{"name": o.cluster, "ready_endpoints": o.ready_endpoints} for o in imported.offerings],
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
