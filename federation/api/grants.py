"""The hub's admin API for grants: what they are, what others would change, and replacing them as a whole."""

from collections.abc import Iterable
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client.metrics_core import Metric

from federation.api.answers import Check
from federation.api.http import actor_of, body_as, json_response
from federation.api.metrics import gauges
from federation.audit import Audit
from federation.errors import GrantsChanged
from federation.log import Log
from federation.registry.clusterset import Clusterset
from federation.registry.effects import differences, effects
from federation.registry.grants_document import document, parse
from federation.registry.outlook import verdicts
from federation.registry.policies import Policies, Written

log = Log(__name__)

_SHOWN: Final = 3


class _Replacement(msgspec.Struct):
    """The grants as a document, and the revision of those that they replace."""

    text: str
    revision: int
    dry_run: bool = False


def add_grants(app: web.Application, policies: Policies, clusterset: Clusterset, audit: Audit) -> None:
    """Add `/v1/grants` to *app*."""

    async def grants(_: web.Request) -> web.StreamResponse:
        return json_response(_told(await policies.get()))

    async def replace(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, _Replacement)
        after, before = parse(asked.text, "grants"), await policies.get()
        if before.revision != asked.revision:
            raise GrantsChanged
        changes = list(differences(before.grants, after))
        found = list(effects(clusterset, clusterset.judge.by(after)))
        if changes and not asked.dry_run:
            await policies.set(after, asked.revision)
            log.info("grants changed", changes="; ".join(changes))
            lost = sum(effect.lost for effect in found)
            told = {"changes": "; ".join(changes), "lost": str(lost), "won": str(len(found) - lost)}
            audit.record("grants-changed", "grants", actor=actor_of(request), **told)
        return json_response({"changes": changes, "effects": found, "dry_run": asked.dry_run})

    app.router.add_get("/v1/grants", grants)
    app.router.add_post("/v1/grants", replace)


def grant_checks(known: Clusterset) -> Iterable[Check]:
    """What is not passed on of what members offer."""
    for name in known.clusters:
        refused = [f"{said.of} {said.name}: {said.refused}" for said in verdicts(known, name) if said.refused]
        if refused:
            more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
            hint = "`fedgate grant add` lets it, if it may; its own agent is told too"
            yield Check("cluster", "warn", f"refused of {name}: {'; '.join(refused[:_SHOWN])}{more}", hint)


def grant_metrics(known: Clusterset) -> Iterable[Metric]:
    """How much of what each member offers is not passed on."""
    refused = [
        ((name,), float(sum(bool(v.refused) for v in verdicts(known, name)))) for name in known.clusters
    ]
    text = "Services and gateways of a cluster that grants keep from others."
    yield gauges("fedgate_cluster_refused", text, ("cluster",), refused)


def _told(written: Written) -> dict[str, object]:
    return {"revision": written.revision, **document(written.grants)}
