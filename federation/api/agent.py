"""The agent's admin API, on a unix socket of its own: what it knows, serves and mints."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
from aiohttp import web

from clusters.reports import Report
from federation import inventory
from federation.api.agent_face import Agent, Facts
from federation.api.agent_state import checks, metrics, status_document
from federation.api.answers import endpoints_document, services_document
from federation.api.audit import add_audit, audit_checks
from federation.api.gateways import gateways_document
from federation.api.health import add_health
from federation.api.http import ApiError, actor_of, application, body_as, json_response
from federation.api.notices import add_notices
from federation.api.rotate import add_rotate
from federation.api.verdicts import add_refused, refusals
from federation.audit import Audit, shown
from federation.dns.resolve import resolve
from federation.reporting import ADMIN_PATH
from federation.severing import ADMIN_PATH as NOTICES_PATH
from pki.spiffe import SpiffeId


class _NewToken(msgspec.Struct):
    name: str
    role: str = "both"
    ttl_seconds: int = 900


class _Revocation(msgspec.Struct):
    spiffe_id: str
    undo: bool = False


def agent_application(agent: Agent, facts: Facts, audit: Audit, stop: Callable[[], None]) -> web.Application:
    """The face itself; after a leave it says *stop*."""

    async def status(_: web.Request) -> web.StreamResponse:
        return json_response(status_document(agent, facts))

    async def services(_: web.Request) -> web.StreamResponse:
        view = agent.view
        endpoints = partial(endpoints_document, view.offer, agent.standings)
        standing = agent.knowledge.judging.told
        known = services_document(view.imports.values(), view.vips, standing, endpoints)
        return json_response(add_refused(known, view, refusals(agent.verdicts, agent.rejected)))

    async def resolution(request: web.Request) -> web.StreamResponse:
        origin = request.query.get("from") or agent.view.home
        if origin != agent.view.home:
            raise ApiError(
                404,
                "not-here",
                f"this is the agent of {agent.view.home}, not of {origin}",
                "ask the hub: --hub",
            )
        name, kind = request.query.get("name", ""), request.query.get("type") or None
        return json_response(resolve(agent.view, name, kind, facts.forwards_to).document())

    async def gateways(_: web.Request) -> web.StreamResponse:
        return json_response({"gateways": gateways_document(agent.gateways(), agent.fronts())})

    async def report(request: web.Request) -> web.StreamResponse:
        return json_response(agent.hear(await body_as(request, Report)))

    async def certs(_: web.Request) -> web.StreamResponse:
        now = datetime.now(UTC)
        held = [each.document(now) for each in agent.certificates()]
        return json_response({"certs": held + [_revoked(each) for each in sorted(agent.revocations.ids)]})

    async def revoke(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, _Revocation)
        spiffe_id = SpiffeId.parse(asked.spiffe_id)
        agent.revoke(spiffe_id, undo=asked.undo)
        done = "reinstated" if asked.undo else "revoked"
        audit.record(done, str(spiffe_id), actor=actor_of(request))
        cannot = [f.report.name for f in agent.fronts() if f.report.cannot_sever]
        told = {"calls_stay_open_at": cannot, "hub_connected": agent.link.connected}
        return json_response({"spiffe_id": str(spiffe_id), "state": done, **told})

    async def create_token(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, _NewToken)
        token = agent.create_gateway_token(asked.name, asked.role, timedelta(seconds=asked.ttl_seconds))
        told = {"what": f"gateway {asked.role}", "token": token.id, "until": shown(token.expires)}
        audit.record("token-created", asked.name, actor=actor_of(request), **told)
        return json_response(
            {
                "token": token.text,
                "id": token.id,
                "name": asked.name,
                "role": asked.role,
                "expires": token.expires,
            }
        )

    async def leave(request: web.Request) -> web.StreamResponse:
        await agent.leave()
        audit.record("left", agent.view.home, actor=actor_of(request))
        stop()
        return json_response({"cluster": agent.view.home, "left": True})

    async def check(_: web.Request) -> web.StreamResponse:
        held = inventory.checks(agent.certificates(), datetime.now(UTC))
        return json_response({"checks": [*checks(agent, facts), *held, *audit_checks(audit)]})

    app = application()
    app.router.add_get("/v1/status", status)
    app.router.add_get("/v1/services", services)
    app.router.add_get("/v1/resolve", resolution)
    app.router.add_get("/v1/gateways", gateways)
    app.router.add_get("/v1/certs", certs)
    app.router.add_post("/v1/certs/revoke", revoke)
    app.router.add_post("/v1/gateway-tokens", create_token)
    app.router.add_post(ADMIN_PATH, report)
    add_notices(app, NOTICES_PATH, agent.notices)
    app.router.add_post("/v1/leave", leave)
    app.router.add_get("/v1/check", check)
    add_rotate(app, agent.upkeep.rotate)
    add_audit(app, audit)
    add_health(app, lambda: agent.ready, lambda: metrics(agent, facts))
    return app


def _revoked(spiffe_id: SpiffeId) -> dict[str, object]:
    """A workload that has no certificate any more, and gets none."""
    return {
        "spiffe_id": str(spiffe_id),
        "kind": "workload",
        "cluster": "",
        "serial": "",
        "not_before": None,
        "not_after": None,
        "renews_at": None,
        "state": "revoked",
    }
