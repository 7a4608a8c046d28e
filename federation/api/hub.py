"""The hub's admin API: clusters, services and tokens, on a unix socket of its own and, if asked, on TCP."""

import hmac
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from federation.api.audit import add_audit
from federation.api.grants import add_grants
from federation.api.health import add_health
from federation.api.http import ApiError, Handler, application, json_response
from federation.api.hub_clusters import add_clusters
from federation.api.hub_face import Hub
from federation.api.hub_services import add_services
from federation.api.hub_state import checks, holdings, metrics
from federation.api.hub_tokens import add_tokens
from federation.api.rotate import add_rotate
from federation.api.trust import add_trust
from federation.api.withdrawals import add_withdrawals
from pki import keystore

_MAX_BODY = 1 << 20  # all grants in one document


def hub_application(
    hub: Hub, token_file: Path | None = None, more: Iterable[Callable[[web.Application], None]] = ()
) -> web.Application:
    """The face itself; with *token_file* only for who shows the bearer token that is in there.

    *more* are parts of it that are described elsewhere.
    """

    async def certs(_: web.Request) -> web.StreamResponse:
        return json_response({"certs": [held.document(hub.now()) for held in holdings(hub)]})

    async def check(_: web.Request) -> web.StreamResponse:
        return json_response({"checks": list(checks(hub))})

    app = application(_MAX_BODY)
    if token_file is not None:
        app.middlewares.append(_bearer(token_file))
    add_clusters(app, hub)
    add_services(app, hub)
    add_tokens(app, hub)
    app.router.add_get("/v1/certs", certs)
    app.router.add_get("/v1/check", check)
    add_withdrawals(app, hub.registry.withdrawals, hub.audit)
    add_trust(app, hub.follower, hub.audit)
    add_grants(app, hub.registry.policies, hub.clusterset, hub.audit)
    add_rotate(app, hub.rotate)
    for add in more:
        add(app)
    add_audit(app, hub.audit)
    add_health(app, hub.ready, lambda: metrics(hub))
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
