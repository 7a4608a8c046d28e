"""The agent's admin API, on a unix socket of its own: what it knows, serves and mints."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from aiohttp import web
from prometheus_client.metrics_core import Metric

from clusters.latest import Latest
from clusters.model import ClusterView
from clusters.reports import Notice, Report, ReportAnswer
from clusters.sources.file import Reading
from clusters.verdict import Verdict
from federation import inventory
from federation.agent_upkeep import Upkeep
from federation.api.answers import Check, endpoints_document, services_document
from federation.api.audit import add_audit, audit_checks
from federation.api.gateways import gateways_document
from federation.api.health import add_health
from federation.api.http import ApiError, actor_of, application, body_as, json_response
from federation.api.metrics import counters, gauge, gauges
from federation.api.notices import add_notices
from federation.api.rotate import add_rotate, issuing_ca_check
from federation.api.verdicts import Rejected, add_refused, refusals, verdict_checks
from federation.api.withdrawals import withdrawal_check
from federation.audit import Audit, shown
from federation.dns.resolve import resolve
from federation.dns.server import DnsServer
from federation.doubting import Doubting
from federation.fronts import Front
from federation.health.standings import Standings
from federation.inventory import Held
from federation.knowledge import Knowledge
from federation.reporting import ADMIN_PATH
from federation.revocations import Revocations
from federation.severing import ADMIN_PATH as NOTICES_PATH
from federation.svids import Svid
from federation.sync.client import LinkState
from federation.withholding import Withholding
from federation.workload.server import WorkloadApi
from gateway.ads import GatewayStatus
from gateway.delta import Standing
from gateway.errors import CannotSever
from gateway.kinds import SHORT
from gateway.view import contested
from pki.spiffe import SpiffeId
from pki.tokens import Token

_SHOWN: Final = 3


class Agent(Protocol):
    """What this face needs of the agent."""

    @property
    def view(self) -> ClusterView: ...
    @property
    def link(self) -> LinkState: ...
    @property
    def reading(self) -> Reading: ...
    @property
    def ready(self) -> bool: ...
    @property
    def notices(self) -> Latest[Notice]: ...
    @property
    def revocations(self) -> Revocations: ...
    def revoke(self, spiffe_id: SpiffeId, *, undo: bool = False) -> None: ...
    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...
    @property
    def rejected(self) -> Rejected: ...
    def gateways(self) -> tuple[GatewayStatus, ...]: ...
    def fronts(self) -> tuple[Front, ...]: ...
    @property
    def standings(self) -> Standings: ...
    @property
    def checks_made(self) -> Mapping[str, int]: ...
    def svids(self) -> tuple[Svid, ...]: ...
    @property
    def workloads(self) -> WorkloadApi: ...
    def certificates(self) -> tuple[Held, ...]: ...
    def hear(self, report: Report) -> ReportAnswer: ...
    def create_gateway_token(self, name: str, role: str, ttl: timedelta) -> Token: ...
    async def leave(self) -> None: ...
    @property
    def upkeep(self) -> Upkeep: ...
    @property
    def knowledge(self) -> Knowledge: ...
    @property
    def withholding(self) -> Withholding: ...
    @property
    def doubting(self) -> Doubting: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while an agent runs."""

    trust_domain: str
    workload_socket: Path
    source: str
    forwards_to: tuple[str, ...]
    dns: DnsServer
    asked_for: Mapping[str, int]
    """How many SVIDs were issued by the issuance socket, and denied."""


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
        return json_response(_status(agent, facts))

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
        return json_response({"checks": [*_checks(agent, facts), *held, *audit_checks(audit)]})

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
    add_health(app, lambda: agent.ready, lambda: _metrics(agent, facts))
    return app


def _status(agent: Agent, facts: Facts) -> dict[str, object]:
    view, link, reading = agent.view, agent.link, agent.reading
    return {
        "cluster": view.home,
        "trust_domain": facts.trust_domain,
        "ready": agent.ready,
        "hub": link,
        "source": {
            "path": facts.source,
            "state": reading.state,
            "problems": reading.problems,
            "services": len(view.offer.services),
            "workloads": len(view.offer.workloads),
            "gateways": len(view.offer.gateways),
        },
        "endpoints": agent.standings.count(),
        "workload_api": {
            "endpoint": f"unix://{facts.workload_socket}",
            "connections": agent.workloads.door.connections,
            "turned_away": agent.workloads.door.turned_away,
        },
        "imports": len(view.imports),
        "members": sorted(view.members),
        "vip_ranges": [r.cidr for r in view.vip_ranges],
        "issuing_ca_expires": agent.upkeep.renewal.active.not_after,
    }


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


def _checks(agent: Agent, facts: Facts) -> Iterable[Check]:
    """What an operator would look at first, in that order."""
    view, link, reading = agent.view, agent.link, agent.reading
    if link.connected:
        yield Check("hub", "ok", f"connected to {link.address}")
    else:
        yield Check("hub", "warn", f"not connected to {link.address}: {link.reason}", link.hint)
    if reading.state == "good":
        yield Check("source", "ok", f"{facts.source}: {len(view.offer.services)} services")
    else:
        yield Check("source", "fail", f"{facts.source}: {'; '.join(reading.problems)}", "correct the file")
    if withheld := agent.withholding.told:
        yield withdrawal_check("this cluster", withheld)
    if doubted := agent.doubting.names:
        hint = "its hub may have been restored: they stay known here until it tells of them again"
        yield Check("imports", "warn", f"{len(doubted)} services are gone from the hub, and not here", hint)
    clash = contested(view.offer)
    if clash:
        claims = "; ".join(
            f"{a} by {' and '.join(f'{w.namespace}/{w.name}' for w in who)}" for a, who in clash.items()
        )
        hint = "an address of two workloads is nobody's: give it to one of them"
        yield Check("workloads", "fail", f"claimed twice: {claims}", hint)
    else:
        yield Check("workloads", "ok", f"{len(view.offer.workloads)} workloads, each address claimed once")
    if down := [f"{name} at {address}: {why.reason}" for name, address, why in agent.standings.down()]:
        more = f"; and {len(down) - _SHOWN} more" if len(down) > _SHOWN else ""
        hint = "calls are not sent there; `fedgate services show NAME` tells since when"
        yield Check("endpoints", "warn", f"down: {'; '.join(down[:_SHOWN])}{more}", hint)
    for status in agent.gateways():
        verdict: Literal["ok", "fail"] = "ok" if status.standing is not Standing.NACK else "fail"
        detail = f"{status.spec.name} {status.standing} {status.detail}".rstrip()
        yield Check(
            "gateway", verdict, detail, "" if verdict == "ok" else "the last good version stays in use"
        )
    for front in agent.fronts():
        if why := front.report.cannot_sever:
            detail = f"{front.report.name} cannot end open connections of clusters that are evicted: {why}"
            yield Check("gateway", "warn", detail, CannotSever.hint)
    if not agent.gateways():
        yield Check("gateways", "warn", "none is connected", "run one with `fedgate gateways run`")
    for member in view.members.values():
        if not member.anchors:
            yield Check("member", "fail", f"{member.name} has no issuing CA that leads to our root")
        elif not member.gateways:
            hint = "add `gateways:` to its source file" if member.name == view.home else ""
            yield Check("member", "warn", f"{member.name} has no gateways to dial", hint)
    yield from verdict_checks(view, refusals(agent.verdicts, agent.rejected))
    yield issuing_ca_check(agent.upkeep.renewal, datetime.now(UTC))


def _metrics(agent: Agent, facts: Facts) -> Iterable[Metric]:
    view, gateways, svids = agent.view, agent.gateways(), agent.svids()
    yield gauge("fedgate_agent_hub_connected", "Whether the hub is connected.", agent.link.connected)
    yield gauge("fedgate_agent_source_good", "Whether the source is in use.", agent.reading.state == "good")
    yield gauge("fedgate_agent_imports", "Services of the clusterset that are known.", len(view.imports))
    yield gauge("fedgate_agent_members", "Clusters that are known, this one too.", len(view.members))
    yield gauge("fedgate_agent_svids", "SVIDs that may be in use.", len(svids))
    expiry = min((svid.validity.not_after.timestamp() for svid in svids), default=0.0)
    yield gauge("fedgate_agent_svid_expiry_seconds", "When the first SVID ends, Unix time.", expiry)
    ends = agent.upkeep.renewal.active.not_after.timestamp()
    yield gauge("fedgate_agent_issuing_ca_expiry_seconds", "When the issuing CA ends, Unix time.", ends)
    text = "SVIDs that were asked for by the issuance socket."
    yield counters("fedgate_agent_issuance_svids", text, "outcome", facts.asked_for)
    yield from inventory.metrics(agent.certificates())
    synced = [((g.spec.name,), float(g.standing is Standing.SYNCED)) for g in gateways]
    text = "Whether a gateway has all that it is to have."
    yield gauges("fedgate_gateway_synced", text, ("gateway",), synced)
    rejected = [
        ((g.spec.name, SHORT.get(kind, kind)), float(len(held.rejected)))
        for g in gateways
        for kind, held in g.kinds.items()
    ]
    text = "Resources that a gateway rejects."
    yield gauges("fedgate_gateway_rejected", text, ("gateway", "kind"), rejected)
    connections = agent.workloads.door.connections
    yield gauge("fedgate_agent_workload_connections", "Connections to the Workload API.", connections)
    states = [((state,), float(count)) for state, count in agent.standings.count().items()]
    yield gauges("fedgate_endpoints", "Endpoints of this cluster that are checked.", ("state",), states)
    yield counters("fedgate_endpoint_checks", "Checks of endpoints.", "outcome", agent.checks_made)
    yield counters("fedgate_dns_questions", "Questions to the name server.", "outcome", facts.dns.tally)
