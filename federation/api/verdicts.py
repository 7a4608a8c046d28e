"""What the hub does not take or pass on of a cluster's own services and gateways, as the agent shows it."""

from collections.abc import Iterable, Mapping

from clusters.model import ClusterView
from clusters.services import LocalService
from clusters.verdict import Published, Verdict
from federation.api.answers import Check
from federation.sync.records import EXPORT, GATEWAY

_SHOWN = 3
_HINT = "`fedgate services` here lists them; what may be is written down at the hub: `fedgate grant`"

Rejected = Mapping[str, Mapping[str, str]]
"""By kind and name, why the hub did not take a record."""


def refusals(verdicts: Iterable[Verdict], rejected: Rejected) -> dict[tuple[Published, str], str]:
    """Why each service or gateway is not passed on, or only in part."""
    found = {(each.of, each.name): each.refused for each in verdicts if each.refused}
    for kind, of in ((EXPORT, Published.SERVICE), (GATEWAY, Published.GATEWAY)):
        found |= {(of, name): reason for name, reason in rejected.get(kind, {}).items()}
    return found


def add_refused(
    document: dict[str, object], view: ClusterView, refused: Mapping[tuple[Published, str], str]
) -> dict[str, object]:
    """*document* of the services that are imported, and those of ours that are refused, with why."""
    listed = document["services"]
    services = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    told = {f"{each['namespace']}/{each['name']}": each for each in services}
    for name, offered in sorted(view.offer.services.items()):
        if reason := refused.get((Published.SERVICE, str(name))):
            entry = told.get(str(name))
            if entry is None:
                services.append(_service(offered, reason))
            else:
                entry["refused"] = reason
    return {**document, "services": services}


def _service(offered: LocalService, reason: str) -> dict[str, object]:
    return {
        "namespace": offered.service.namespace,
        "name": offered.service.name,
        "dns_name": offered.service.dns_name,
        "vips": (),
        "ports": [{"number": p.port.number, "protocol": p.port.protocol} for p in offered.ports],
        "clusters": [],
        "conflict": "",
        "refused": reason,
    }


def verdict_checks(view: ClusterView, refused: Mapping[tuple[Published, str], str]) -> Iterable[Check]:
    """What an operator of this cluster has to know of what the hub says to it."""
    for of in Published:
        told = [f"{name}: {reason}" for (kind, name), reason in sorted(refused.items()) if kind is of]
        if told:
            yield Check("hub", "warn", f"{of}s refused: {_some(told)}", _HINT)
    conflicts = [
        f"{imported.service}: {imported.conflict}"
        for name, imported in sorted(view.imports.items())
        if imported.conflict and name in view.offer.services
    ]
    if conflicts:
        yield Check("services", "warn", _some(conflicts), "make the clusters that export it agree")


def _some(told: list[str]) -> str:
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return "; ".join(told[:_SHOWN]) + more
