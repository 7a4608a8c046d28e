"""The clusters of the set at the hub: looked at, shut out, and let in again."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial

import msgspec
from aiohttp import web

from clusters.names import ClusterName, cluster_name
from federation.api.eviction import Watched, holders
from federation.api.http import actor_of, body_as, json_response
from federation.api.hub_face import Hub
from federation.api.withdrawals import (
    withdrawal_document,
)
from federation.log import Log
from federation.probing import Seen
from federation.registry.records import ClusterRecord
from pki.authority import from_pem

log = Log(__name__)

_LONGEST_WAIT = 600.0


class _Eviction(msgspec.Struct):
    wait_seconds: float = 0.0


def add_clusters(app: web.Application, hub: Hub) -> None:
    """Serve the clusters of *hub*."""

    async def clusters(_: web.Request) -> web.StreamResponse:
        members = [cluster_document(hub, name) for name in hub.clusterset.clusters]
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

    app.router.add_get("/v1/clusters", clusters)
    app.router.add_post("/v1/clusters/{name}/evict", evict)
    app.router.add_post("/v1/clusters/{name}/readmit", readmit)


def cluster_document(hub: Hub, name: ClusterName) -> dict[str, object]:
    """A member: how it stands, and what gateways of others say of its own."""
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
