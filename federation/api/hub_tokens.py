"""Join tokens at the hub: made, listed and revoked."""

from datetime import datetime, timedelta

import msgspec
from aiohttp import web

from clusters.names import ClusterName, cluster_name
from federation.api.http import ApiError, actor_of, body_as, json_response
from federation.api.hub_face import Hub
from federation.audit import shown
from federation.registry.records import TokenRecord
from pki.tokens import TokenKind, new_token, secret_hash

_LONGEST_TTL = timedelta(days=7)


class _NewToken(msgspec.Struct):
    cluster: str
    ttl_seconds: int = 900


class _MadeToken(msgspec.Struct, frozen=True):
    token: str
    id: str
    cluster: ClusterName
    expires: datetime


def add_tokens(app: web.Application, hub: Hub) -> None:
    """Serve the join tokens of *hub*."""

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

    app.router.add_post("/v1/tokens", create_token)
    app.router.add_get("/v1/tokens", tokens)
    app.router.add_delete("/v1/tokens/{id}", revoke)


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
