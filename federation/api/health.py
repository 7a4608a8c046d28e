"""`/healthz`, `/readyz` and `/metrics`, the same for hub and agent."""

from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client.metrics_core import Metric

from federation.api.metrics import exposed


def add_health(
    app: web.Application, ready: Callable[[], bool], metrics: Callable[[], Iterable[Metric]]
) -> None:
    """`/healthz`, `/readyz` and `/metrics`, the same for hub and agent."""

    async def healthz(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready\n")

    async def exposition(_: web.Request) -> web.StreamResponse:
        return web.Response(body=exposed(metrics()), content_type="text/plain", charset="utf-8")

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
