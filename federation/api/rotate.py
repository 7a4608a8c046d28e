"""`POST /v1/rotate`, the same at hub and agent, and what an agent's check says of its issuing CA."""

from datetime import datetime
from typing import Protocol

import msgspec
from aiohttp import web

from clusters.durations import short
from federation.api.answers import Check
from federation.api.http import body_as, json_response
from federation.renewal import WHAT, Renewal
from federation.rotating import Rotated


class Rotate(Protocol):
    """Does what is due here, or everything, or only says what it would do."""

    async def __call__(self, *, force: bool = False, dry_run: bool = False) -> Rotated: ...


class _Asked(msgspec.Struct):
    dry_run: bool = False
    force: bool = False


def add_rotate(app: web.Application, rotate: Rotate) -> None:
    """Have *app* take orders to rotate."""

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, _Asked)
        return json_response(await rotate(force=asked.force, dry_run=asked.dry_run))

    app.router.add_post("/v1/rotate", handle)


def issuing_ca_check(renewal: Renewal, now: datetime) -> Check:
    """How the issuing CA stands: renewed in time by itself, waiting for somebody, or over."""
    active, trouble = renewal.active, renewal.trouble
    if not active.covers(now):
        hint = trouble.hint if trouble else "the agent asks the hub to let it in again"
        reason = f": {trouble}" if trouble else ""
        return Check(WHAT, "fail", f"ended at {active.not_after:%Y-%m-%d %H:%M:%S} UTC{reason}", hint)
    left = f"valid for {short(active.not_after - now)} more"
    if trouble is not None:
        return Check(WHAT, "warn", f"{left}, and not renewed: {trouble}", trouble.hint)
    if renewal.lagging:
        who = ", ".join(each.who for each in renewal.lagging)
        hint = "look at those: the new one is not used before they know it, as long as this one may be"
        return Check(WHAT, "warn", f"{left}; the next one waits for {who}", hint)
    return Check(WHAT, "ok", f"{left}, renewed from {renewal.renew_at:%Y-%m-%d %H:%M} UTC on")
