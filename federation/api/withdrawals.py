"""Withdrawals that are doubted, as they are shown: by cluster, in checks and metrics; and accepting one."""

from collections.abc import Iterable

from aiohttp import web
from prometheus_client.metrics_core import Metric

from clusters.names import cluster_name
from clusters.withheld import Withheld
from federation.api.answers import Check
from federation.api.http import ApiError, actor_of, json_response
from federation.api.metrics import gauges
from federation.audit import Audit, shown
from federation.log import Log
from federation.registry.clusterset import Clusterset
from federation.registry.withdrawals import Withdrawals

log = Log(__name__)


def add_withdrawals(app: web.Application, withdrawals: Withdrawals, audit: Audit) -> None:
    """Serve `POST /v1/clusters/NAME/accept`."""

    async def accept(request: web.Request) -> web.StreamResponse:
        name = cluster_name(request.match_info["name"])
        withheld = await withdrawals.accept(name)
        if withheld is None:
            hint = "`fedgate clusters` shows whose withdrawals are held back"
            raise ApiError(404, "nothing-held", f"no withdrawal of {name} is held back", hint)
        log.warning("withdrawal accepted", cluster=name, services=withheld.services)
        audit.record("withdrawal-accepted", name, actor=actor_of(request), services=str(withheld.services))
        return json_response({"name": name, **withdrawal_document(withheld)})

    app.router.add_post("/v1/clusters/{name}/accept", accept)


def withdrawal_document(withheld: Withheld) -> dict[str, object]:
    """What is held back."""
    return {
        "services": withheld.services,
        "names": withheld.names,
        "since": withheld.since,
        "until": withheld.until,
    }


def withdrawal_check(who: str, withheld: Withheld) -> Check:
    """What is held back, and what to do about it."""
    some = ", ".join(withheld.names[:3])
    detail = f"{who}: {withheld.services} services are gone from its source, which is not believed: {some}…"
    until = shown(withheld.until)
    hint = f"if they are to go: `fedgate clusters accept {withheld.cluster}`; else they go at {until}"
    return Check("withdrawal", "warn", detail, hint)


def withdrawal_metrics(clusterset: Clusterset) -> Iterable[Metric]:
    """How many services each cluster goes on to offer though its source does not say so."""
    text = "Services of a cluster that are gone from its source, which is not believed."
    held = [(name, clusterset.withheld(name)) for name in clusterset.clusters]
    counted = [((name,), float(each.services if each else 0)) for name, each in held]
    yield gauges("fedgate_cluster_services_withheld", text, ("cluster",), counted)
