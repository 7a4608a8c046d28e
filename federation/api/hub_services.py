"""The services of the set at the hub: what DNS answers for them, and why a cluster has one or has not."""

from collections.abc import Iterable
from functools import partial

from aiohttp import web

from clusters.model import ClusterView, Import, Offering, VipRange
from clusters.names import ClusterName, ServiceName
from clusters.staleness import Judgement, judged, reached
from federation.api.answers import services_document
from federation.api.http import ApiError, json_response
from federation.api.hub_face import Hub
from federation.dns.resolve import resolve
from federation.errors import UnknownCluster
from federation.registry.outlook import imports_for
from federation.why import explain


def add_services(app: web.Application, hub: Hub) -> None:
    """Serve the services that *hub* knows."""

    async def services(_: web.Request) -> web.StreamResponse:
        imports = hub.clusterset.imports()
        vips = _view(hub, ClusterName("hub")).vips
        return json_response(services_document(imports, vips, partial(_standing, hub)))

    async def why(request: web.Request) -> web.StreamResponse:
        home, asked = _member(hub, request.query.get("from", "")), request.query.get("service", "")
        ranges = _view(hub, home).vip_ranges
        found = explain(hub.clusterset, hub.probing, ServiceName.parse(asked), home, ranges)
        return json_response(found.document())

    async def resolution(request: web.Request) -> web.StreamResponse:
        query = request.query
        view = _view(hub, _member(hub, query.get("from", "")))
        return json_response(resolve(view, query.get("name", ""), query.get("type") or None).document())

    app.router.add_get("/v1/services", services)
    app.router.add_get("/v1/why", why)
    app.router.add_get("/v1/resolve", resolution)


def _standing(hub: Hub, offering: Offering) -> Judgement:
    """What the contract of an export says, by what all others' gateways find out about its cluster's."""
    reach = reached(seen.probe.up for seen in hub.probing.of(offering.cluster))
    return judged(offering.staleness, hub.clusterset.away(offering.cluster), reach, hub.now())


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
