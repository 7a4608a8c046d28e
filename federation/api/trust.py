"""The hub's admin API for trust domains outside: whom to believe, and how following them goes."""

from typing import Final

import msgspec
from aiohttp import web

from clusters.foreign import BundleEndpoint, Profile, outside
from federation.api.answers import Check
from federation.api.http import ApiError, actor_of, body_as, json_response
from federation.audit import Audit
from federation.errors import UnknownTrust
from federation.registry.records import TrustRecord
from federation.trust.follower import Follower, held, interval, next_look
from pki.spiffe_bundle import parse

_STALE: Final = 3
"""How many looks in a row may be missed before a bundle counts as stale."""


class _NewTrust(msgspec.Struct):
    trust_domain: str
    url: str
    profile: Profile = Profile.WEB
    spiffe_id: str = ""
    bundle: str = ""


def add_trust(app: web.Application, follower: Follower, audit: Audit) -> None:
    """Add `/v1/trust` to *app*."""

    async def trusts(_: web.Request) -> web.StreamResponse:
        return json_response({"trust": [_document(follower, t) for t in follower.clusterset.trusts]})

    async def trust(request: web.Request) -> web.StreamResponse:
        return json_response(_document(follower, _known(follower, request.match_info["name"])))

    async def add(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, _NewTrust)
        endpoint = BundleEndpoint(asked.trust_domain, asked.url, asked.profile, asked.spiffe_id)
        federation = follower.clusterset.federation
        if federation is None:
            raise ApiError(503, "not-ready", "the hub is still starting", "ask again in a moment")
        outside(endpoint.trust_domain, federation.domain)
        if asked.bundle:
            parse(asked.bundle.encode())
        elif endpoint.proven_by and not _is_proven(follower, endpoint):
            raise ApiError(
                409,
                "bundle-missing",
                f"no bundle of {endpoint.proven_by} is known, which has to prove {endpoint.spiffe_id}",
                "get it from its operator and give it with --bundle FILE",
            )
        added = await follower.trusts.add(endpoint, asked.bundle)
        who, told = actor_of(request), {"url": endpoint.url, "profile": endpoint.profile.value}
        audit.record("trusted", endpoint.trust_domain, actor=who, **told)
        return json_response(_document(follower, added))

    async def remove(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        await follower.trusts.remove(name)
        audit.record("distrusted", name, actor=actor_of(request))
        return json_response({"trust_domain": name, "removed": True})

    app.router.add_get("/v1/trust", trusts)
    app.router.add_post("/v1/trust", add)
    app.router.add_get("/v1/trust/{name}", trust)
    app.router.add_delete("/v1/trust/{name}", remove)


def trust_checks(follower: Follower) -> list[Check]:
    """What an operator has to know of how following goes."""
    shown = [_document(follower, record) for record in follower.clusterset.trusts]
    hint = "the last good bundle stays in use; `fedgate trust show NAME` tells more"
    return [
        Check("trust", "ok", f"{document['trust_domain']}'s bundle is fresh")
        if document["state"] in ("good", "pending")
        else Check("trust", "warn", f"{document['trust_domain']}'s bundle is {document['state']}", hint)
        for document in shown
    ]


def _known(follower: Follower, name: str) -> TrustRecord:
    record = follower.clusterset.trust(name)
    if record is None:
        raise UnknownTrust(name)
    return record


def _is_proven(follower: Follower, endpoint: BundleEndpoint) -> bool:
    """Whether there is a bundle that proves *endpoint*'s server."""
    prover = follower.clusterset.trust(endpoint.proven_by)
    bundle = held(prover) if prover else None
    return bool(bundle and bundle.authorities)


def _document(follower: Follower, record: TrustRecord) -> dict[str, object]:
    endpoint, bundle = record.endpoint, held(record)
    attempt = follower.attempts.get(endpoint.trust_domain)
    if attempt is not None and attempt.endpoint != endpoint:
        attempt = None
    return {
        "trust_domain": endpoint.trust_domain,
        "state": _state(follower, record),
        "url": endpoint.url,
        "profile": endpoint.profile,
        "spiffe_id": endpoint.spiffe_id,
        "authorities": len(bundle.authorities) if bundle else 0,
        "jwt_keys": len(bundle.jwt_keys) if bundle else 0,
        "sequence": bundle.sequence if bundle else None,
        "fetched_at": record.fetched_at,
        "next_look": next_look(record, attempt),
        "failures": attempt.failures if attempt else 0,
        "reason": attempt.reason if attempt else "",
    }


def _state(follower: Follower, record: TrustRecord) -> str:
    """`good`, `stale` when it could not be fetched for long, `failed` when there is none, or `pending`."""
    attempt = follower.attempts.get(record.endpoint.trust_domain)
    failing = attempt is not None and attempt.endpoint == record.endpoint and attempt.failures > 0
    bundle = held(record)
    if bundle is None or record.fetched_at is None:
        return "failed" if failing else "pending"
    late = follower.now() - record.fetched_at > _STALE * interval(bundle)
    return "stale" if late else "good"
