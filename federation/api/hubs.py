"""The part of the hub's admin API that says which hubs there are, and which of them is elected."""

from collections.abc import Iterator

from aiohttp import web

from federation.api.answers import Check
from federation.api.http import json_response
from federation.registry.clusterset import Clusterset
from federation.registry.records import HubRecord


def add_hubs(clusterset: Clusterset, app: web.Application) -> None:
    """Answer in *app*: `/v1/hubs`, every hub that runs, by name."""

    async def hubs(_: web.Request) -> web.StreamResponse:
        return json_response({"hubs": [_document(clusterset, hub) for hub in clusterset.hubs]})

    app.router.add_get("/v1/hubs", hubs)


def hub_checks(clusterset: Clusterset) -> Iterator[Check]:
    """Of several hubs: which ones run, and whether one is elected. Of a hub alone there is nothing to say."""
    names = [hub.name for hub in clusterset.hubs]
    if len(names) > 1 and clusterset.leader is not None:
        yield Check("hubs", "ok", f"{', '.join(names)} run, and {clusterset.leader.name} is elected")
    elif len(names) > 1:
        hint = "one is within seconds, if the store can be written to"
        yield Check("hubs", "warn", f"{', '.join(names)} run, and none is elected", hint)


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
