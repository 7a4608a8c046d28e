"""The hub's admin API: clusters, services and tokens, on a unix socket of its own and, if asked, on TCP."""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client.metrics_core import Metric

from clusters.admission import SKEW_WARNED
from clusters.model import (
    ClusterName,
    ClusterView,
    Import,
    Offering,
    ServiceName,
    VipRange,
    cluster_name,
)
from clusters.staleness import Verdict, reached, verdict
from federation import inventory
from federation.anchoring import Anchoring
from federation.api.answers import Check, services_document
from federation.api.audit import add_audit, audit_checks
from federation.api.authorities import hub_ca_check
from federation.api.eviction import Watched, holders
from federation.api.grants import add_grants, grant_checks, grant_metrics
from federation.api.health import add_health
from federation.api.http import ApiError, Handler, actor_of, application, body_as, json_response
from federation.api.hubs import hub_checks
from federation.api.metrics import gauge, gauges
from federation.api.rotate import Rotate, add_rotate
from federation.api.trust import add_trust, trust_checks
from federation.api.withdrawals import (
    add_withdrawals,
    withdrawal_check,
    withdrawal_document,
    withdrawal_metrics,
)
from federation.audit import Audit, shown
from federation.dns.resolve import resolve
from federation.errors import UnknownCluster
from federation.hub_authority import CERTIFICATE, HubAuthority
from federation.inventory import Held
from federation.log import Log
from federation.probing import Probing, Seen
from federation.registry.clusterset import Clusterset
from federation.registry.outlook import imports_for
from federation.registry.records import ClusterRecord, TokenRecord
from federation.registry.registry import Registry
from federation.trust.follower import Follower
from federation.why import explain
from pki import keystore
from pki.authority import from_pem
from pki.tokens import TokenKind, new_token, secret_hash

log = Log(__name__)

_LONGEST_TTL = timedelta(days=7)
_LONGEST_WAIT = 600.0
_MAX_BODY = 1 << 20  # all grants in one document


@dataclass(frozen=True, slots=True)
class Hub:
    """What this face needs of the hub; *addresses* are those that a token sends newcomers to."""

    authority: HubAuthority
    registry: Registry
    clusterset: Clusterset
    probing: Probing
    anchoring: Anchoring
    addresses: Callable[[], tuple[str, ...]]
    now: Callable[[], datetime]
    rotate: Rotate
    audit: Audit
    follower: Follower

    def ready(self) -> bool:
        """Whether the registry has been read."""
        return self.clusterset.federation is not None


class _Eviction(msgspec.Struct):
    wait_seconds: float = 0.0


class _NewToken(msgspec.Struct):
    cluster: str
    ttl_seconds: int = 900


class _MadeToken(msgspec.Struct, frozen=True):
    token: str
    id: str
    cluster: ClusterName
    expires: datetime


def hub_application(
    hub: Hub, token_file: Path | None = None, more: Iterable[Callable[[web.Application], None]] = ()
) -> web.Application:
    """The face itself; with *token_file* only for who shows the bearer token that is in there.

    *more* are parts of it that are described elsewhere.
    """

    async def clusters(_: web.Request) -> web.StreamResponse:
        members = [_cluster(hub, name) for name in hub.clusterset.clusters]
        return json_response({"clusters": members + [_evicted(hub, gone) for gone in hub.clusterset.evicted]})

    async def evict(request: web.Request) -> web.StreamResponse:
        asked, name = await body_as(request, _Eviction), cluster_name(request.match_info["name"])
        holding = partial(holders, hub.probing, hub.anchoring, name)
        watched = Watched.before(name, holding(), hub.clusterset)
        record = await hub.registry.members.evict(name, hub.now())
        log.warning("cluster evicted", cluster=name)
        hub.audit.record("evicted", name, actor=actor_of(request))
        gateways = await watched.let_go(holding, min(asked.wait_seconds, _LONGEST_WAIT))
        return json_response({**_evicted(hub, record), "let_go": gateways, "away": watched.away})

    async def readmit(request: web.Request) -> web.StreamResponse:
        name = cluster_name(request.match_info["name"])
        await hub.registry.members.readmit(name, hub.now())
        log.info("cluster may join again", cluster=name)
        hub.audit.record("readmitted", name, actor=actor_of(request))
        return json_response({"name": name, "state": "readmitted"})

    async def services(_: web.Request) -> web.StreamResponse:
        imports = hub.clusterset.imports()
        vips = _view(hub, ClusterName("hub")).vips
        return json_response(services_document(imports, vips, partial(_standing, hub)))

    async def why(request: web.Request) -> web.StreamResponse:
        home, asked = _member(hub, request.query.get("from", "")), request.query.get("service", "")
        ranges = _view(hub, home).vip_ranges
        found = explain(hub.clusterset, hub.probing, ServiceName.parse(asked), home, ranges)
        return json_response(found.document())

    async def create_token(request: web.Request) -> web.StreamResponse:
        made = await _create_token(hub, await body_as(request, _NewToken))
        told = {"token": made.id, "until": shown(made.expires)}
        hub.audit.record("token-created", made.cluster, actor=actor_of(request), **told)
        return json_response(made)

    async def tokens(_: web.Request) -> web.StreamResponse:
        return json_response({"tokens": [_token(hub, t) for t in await hub.registry.tokens.list()]})

    async def revoke(request: web.Request) -> web.StreamResponse:
        revoked = await hub.registry.tokens.revoke(request.match_info["id"], hub.now())
        hub.audit.record("token-revoked", revoked.cluster, actor=actor_of(request), token=revoked.id)
        return json_response(_token(hub, revoked))

    async def resolution(request: web.Request) -> web.StreamResponse:
        query = request.query
        view = _view(hub, _member(hub, query.get("from", "")))
        return json_response(resolve(view, query.get("name", ""), query.get("type") or None).document())

    async def certs(_: web.Request) -> web.StreamResponse:
        return json_response({"certs": [held.document(hub.now()) for held in _held(hub)]})

    async def check(_: web.Request) -> web.StreamResponse:
        return json_response({"checks": list(_checks(hub))})

    app = application(_MAX_BODY)
    if token_file is not None:
        app.middlewares.append(_bearer(token_file))
    app.router.add_get("/v1/clusters", clusters)
    app.router.add_post("/v1/clusters/{name}/evict", evict)
    app.router.add_post("/v1/clusters/{name}/readmit", readmit)
    app.router.add_get("/v1/services", services)
    app.router.add_get("/v1/why", why)
    app.router.add_post("/v1/tokens", create_token)
    app.router.add_get("/v1/tokens", tokens)
    app.router.add_delete("/v1/tokens/{id}", revoke)
    app.router.add_get("/v1/resolve", resolution)
    app.router.add_get("/v1/certs", certs)
    app.router.add_get("/v1/check", check)
    add_withdrawals(app, hub.registry.withdrawals, hub.audit)
    add_trust(app, hub.follower, hub.audit)
    add_grants(app, hub.registry.policies, hub.clusterset, hub.audit)
    add_rotate(app, hub.rotate)
    for add in more:
        add(app)
    add_audit(app, hub.audit)
    add_health(app, hub.ready, lambda: _metrics(hub))
    return app


def _bearer(token_file: Path) -> Middleware:
    wanted = b"Bearer " + keystore.read(token_file).strip()

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(shown, wanted):
            raise ApiError(
                401, "unauthorized", "the admin API asks for its bearer token", "--admin-token-file"
            )
        return await handler(request)

    return admit


async def _create_token(hub: Hub, asked: _NewToken) -> _MadeToken:
    ttl = timedelta(seconds=asked.ttl_seconds)
    if not timedelta(0) < ttl <= _LONGEST_TTL:
        raise ApiError(400, "bad-ttl", f"a token is good for 1 second to {_LONGEST_TTL.days} days")
    cluster, now = cluster_name(asked.cluster), hub.now()
    token = new_token(
        TokenKind.JOIN, cluster, hub.authority.domain, hub.addresses(), hub.authority.pins, now + ttl
    )
    await hub.registry.tokens.add(
        TokenRecord(token.id, secret_hash(token.secret), cluster, now, token.expires)
    )
    return _MadeToken(token.text, token.id, cluster, token.expires)


def _token(hub: Hub, token: TokenRecord) -> dict[str, object]:
    return {
        "id": token.id,
        "cluster": token.cluster,
        "state": token.state(hub.now()),
        "created": token.created,
        "expires": token.expires,
    }


def _cluster(hub: Hub, name: ClusterName) -> dict[str, object]:
    known = hub.clusterset
    member, record, status = known.member(name), known.record(name), known.status(name)
    connected, withheld = known.connected(name), known.withheld(name)
    return {
        "name": name,
        "state": "connected" if connected else "away" if status else "joined",
        "services": len(known.exports(name)),
        "gateways": len(member.gateways) if member else 0,
        "last_seen": hub.now() if connected else status.last_seen if status else None,
        "ca_expires": _ca_expires(record.anchors) if record else None,
        "version": status.version if status else "",
        "connected": connected,
        "trust_domain": record.trust_domain if record else "",
        "clock_skew_seconds": status.clock_skew_seconds if status else 0.0,
        "probes": [_probe(hub, seen) for seen in hub.probing.of(name)],
        "withheld": withdrawal_document(withheld) if withheld else None,
        "revoked": member.revoked if member else (),
    }


def _held(hub: Hub) -> tuple[Held, ...]:
    """What the hub holds, and what the clusters have from it."""
    (own, *_) = from_pem(keystore.read(hub.audit.folder / CERTIFICATE))
    records = map(hub.clusterset.record, hub.clusterset.clusters)
    anchors = [(record.name, chain) for record in records if record for chain in record.anchors]
    return tuple(inventory.of_hub(hub.authority, own, anchors))


def _evicted(hub: Hub, record: ClusterRecord) -> dict[str, object]:
    """A cluster that was shut out: what there is to say of a member, with nothing that counts any more.

    `ca_expires` is until when a gateway believes it that has not heard of it.
    """
    status = hub.clusterset.status(record.name)
    return {
        "name": record.name,
        "state": record.state,
        "services": 0,
        "gateways": 0,
        "last_seen": status.last_seen if status else None,
        "ca_expires": _ca_expires(record.anchors),
        "version": status.version if status else "",
        "connected": False,
        "trust_domain": record.trust_domain,
        "clock_skew_seconds": status.clock_skew_seconds if status else 0.0,
        "probes": [],
        "evicted_at": record.evicted_at,
    }


def _probe(hub: Hub, seen: Seen) -> dict[str, object]:
    """What a gateway of another cluster says of one of this; `said` is when it said so last."""
    return {
        "from": seen.by,
        "gateway": seen.gateway,
        "address": seen.probe.address,
        "state": "up" if seen.probe.up else "down",
        "since": seen.probe.since,
        "reason": seen.probe.reason,
        "said": seen.said or hub.now(),
    }


def _ca_expires(anchors: Iterable[str]) -> datetime | None:
    """When the last of a cluster's issuing CAs ends."""
    return max((from_pem(chain)[0].not_valid_after_utc for chain in anchors), default=None)


def _standing(hub: Hub, offering: Offering) -> Verdict:
    """What the contract of an export says, by what all others' gateways find out about its cluster's."""
    reach = reached(seen.probe.up for seen in hub.probing.of(offering.cluster))
    return verdict(offering.staleness, hub.clusterset.away(offering.cluster), reach, hub.now())


def _member(hub: Hub, name: str) -> ClusterName:
    """The member that the question is about."""
    if not name:
        raise ApiError(400, "from-missing", "from which cluster?", "say --from CLUSTER")
    if hub.clusterset.record(ClusterName(name)) is None:
        raise UnknownCluster(name)
    return ClusterName(name)


def _view(hub: Hub, home: ClusterName) -> ClusterView:
    """The clusterset as *home* sees it."""
    federation, status = hub.clusterset.federation, hub.clusterset.status(home)
    if federation is None:
        raise ApiError(503, "not-ready", "the hub is still starting", "ask again in a moment")
    own = tuple(VipRange(cidr) for cidr in status.vip_ranges) if status else ()
    return ClusterView(
        home,
        federation,
        own or federation.vip_ranges,
        members={m.name: m for m in hub.clusterset.members()},
        imports={i.service: i for i in _imports(hub, home)},
    )


def _imports(hub: Hub, home: ClusterName) -> Iterable[Import]:
    """The services that *home* has; all of them for the hub itself."""
    if hub.clusterset.record(home) is None:
        return hub.clusterset.imports()
    return imports_for(hub.clusterset, home)


def _checks(hub: Hub) -> Iterable[Check]:
    """What an operator would look at first, in that order."""
    yield Check("hub", "ok" if hub.ready() else "fail", "the registry has been read")
    yield from hub_checks(hub.clusterset)
    yield hub_ca_check(hub.authority, hub.now())
    yield from inventory.checks(_held(hub), hub.now())
    yield from audit_checks(hub.audit)
    for name in hub.clusterset.clusters:
        yield from _cluster_checks(hub, name)
    yield from grant_checks(hub.clusterset)
    yield from trust_checks(hub.follower)
    for imported in hub.clusterset.imports():
        if imported.conflict:
            hint = "make the clusters that export it agree"
            yield Check("service", "warn", f"{imported.service}: {imported.conflict}", hint)


def _cluster_checks(hub: Hub, name: ClusterName) -> Iterable[Check]:
    cluster = _cluster(hub, name)
    if cluster["connected"]:
        yield Check("cluster", "ok", f"{name} is connected")
    else:
        yield Check("cluster", "warn", f"{name} is not connected", "look at its agent: `fedgate check` there")
    if withheld := hub.clusterset.withheld(name):
        yield withdrawal_check(name, withheld)
    if not cluster["gateways"]:
        yield Check("cluster", "warn", f"{name} has no gateways", "add `gateways:` to its source file")
    for seen in hub.probing.of(name):
        if not seen.probe.up:
            gateway = f"{name}'s gateway at {seen.probe.address}"
            detail = f"{gateway} is dead for {seen.by}'s {seen.gateway}: {seen.probe.reason}"
            yield Check("cluster", "warn", detail, "see that it runs, and can be reached from there")
    skew = float(str(cluster["clock_skew_seconds"]))
    if abs(skew) > SKEW_WARNED:
        yield Check(
            "cluster", "warn", f"{name}'s clock is {skew:+.1f} s off the hub's", "use NTP in both places"
        )


def _metrics(hub: Hub) -> Iterable[Metric]:
    clusterset = hub.clusterset
    names = clusterset.clusters
    connected = [((name,), float(clusterset.connected(name))) for name in names]
    yield gauges("fedgate_cluster_connected", "Whether a cluster is connected.", ("cluster",), connected)
    text = "Gateways of a cluster that gateways of others find alive, each counted once for each that looks."
    alive = [((name,), float(sum(seen.probe.up for seen in hub.probing.of(name)))) for name in names]
    yield gauges("fedgate_cluster_probes_up", text, ("cluster",), alive)
    dead = [((name,), float(sum(not seen.probe.up for seen in hub.probing.of(name)))) for name in names]
    yield gauges("fedgate_cluster_probes_down", text.replace("alive", "dead"), ("cluster",), dead)
    offered = [((name,), float(len(clusterset.exports(name)))) for name in names]
    yield gauges("fedgate_cluster_services", "Services that a cluster exports.", ("cluster",), offered)
    yield from withdrawal_metrics(clusterset)
    yield gauge("fedgate_hub_services", "Services of the clusterset.", len(clusterset.services))
    yield from grant_metrics(hub.clusterset)
    yield from inventory.metrics(_held(hub))
    ends = hub.authority.hub_ca.certificate.not_valid_after_utc.timestamp()
    yield gauge("fedgate_hub_ca_expiry_seconds", "When the hub CA ends, Unix time.", ends)
