"""The SPIFFE bundle endpoint: what each of our trust domains is known by, for everybody who asks."""

from collections.abc import Callable
from datetime import timedelta

from aiohttp import web

from federation.api.http import application
from federation.registry.clusterset import Clusterset
from federation.trust.bundles import own_document


def bundles_application(
    clusterset: Clusterset, sequence: Callable[[str], int], refresh: timedelta
) -> web.Application:
    """The face itself; *sequence* grows whenever a trust domain's bundle changes.

    Others are to look again after *refresh*.
    """

    async def bundle(request: web.Request) -> web.StreamResponse:
        trust_domain = request.match_info["trust_domain"]
        document = own_document(clusterset, trust_domain, sequence(trust_domain), refresh)
        if document is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": f"max-age={int(refresh.total_seconds()) // 2}"}
        return web.Response(body=document, content_type="application/json", headers=headers)

    app = application()
    app.router.add_get("/bundles/{trust_domain}", bundle)
    return app
