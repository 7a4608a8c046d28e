"""The part of the hub's admin API that says which hubs there are, and which of them is elected."""

from aiohttp import web

from federation.api.http import json_response
from federation.registry.clusterset import Clusterset
from federation.registry.records import HubRecord


def add_hubs(clusterset: Clusterset, app: web.Application) -> None:
    """Answer in *app*: `/v1/hubs`, every hub that runs, by name."""

    async def hubs(_: web.Request) -> web.StreamResponse:
        return json_response({"hubs": [_document(clusterset, hub) for hub in clusterset.hubs]})

    app.router.add_get("/v1/hubs", hubs)


def _document(clusterset: Clusterset, hub: HubRecord) -> dict[str, object]:
    leader = clusterset.leader
    return {
        "name": hub.name,
        "state": "up",
        "leader": leader is not None and leader.instance == hub.instance,
        "addresses": hub.join,
        "sync": hub.sync,
        "version": hub.version,
        "since": hub.since,
        "root": hub.root,
    }
