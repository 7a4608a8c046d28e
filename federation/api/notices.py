"""Where whoever runs an Envoy hears at once whose connections to end: a question waits for its answer."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Final

from aiohttp import web

from clusters.latest import Latest
from clusters.model import ClusterView
from clusters.reports import Notice, NoticeAsked
from federation.api.http import body_as, json_response
from gateway.view import revoked

HELD: Final = 10.0
"""Seconds that a question waits at most."""


def notice_of(view: ClusterView, barred: tuple[str, ...] = ()) -> Notice:
    """What a gateway's process is to know of *view*, and that nobody may call from the addresses *barred*."""
    members = sorted((m.name, m.anchors, [g.addresses for g in m.gateways]) for m in view.members.values())
    known = (members, barred, nobody := revoked(view))
    return Notice(blake2b(repr(known).encode(), digest_size=8).hexdigest(), barred, nobody)


def add_notices(
    app: web.Application,
    path: str,
    notices: Latest[Notice],
    admit: Callable[[web.Request], object] = lambda _: None,
) -> None:
    """Answer with the newest of *notices* at *path*, as soon as it is not what the asker has seen.

    *admit* raises for who may not ask. Nobody who waits holds up the end of *app*.
    """
    ending = asyncio.Event()

    async def ask(request: web.Request) -> web.StreamResponse:
        admit(request)
        asked = await body_as(request, NoticeAsked)
        newer = asyncio.create_task(_after(notices, asked.seen))
        ends = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait((newer, ends), timeout=HELD, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (newer, ends):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        return json_response(notices.value)

    async def end(_: web.Application) -> None:
        ending.set()

    app.router.add_post(path, ask)
    app.on_shutdown.append(end)


async def _after(notices: Latest[Notice], seen: str) -> None:
    """Wait until there is another notice than the one *seen*."""
    async for notice in notices:
        if notice.version != seen:
            return
