"""A link over a connection that is a fake."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from federation.errors import SyncRefused
from federation.sync import records
from federation.sync.exchange import Accept, Session, exchange
from federation.sync.frames import Frame
from federation.sync.link import Link
from gateway.delta import Catalogue


async def broken_when_cancelled() -> AsyncIterator[Frame]:
    """Nothing to hear, until the connection breaks because it is being given up."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise SyncRefused("closed", "the connection broke") from None
    yield  # type: ignore[misc]


async def ignored(_frame: Frame) -> None:
    pass


async def test_who_ends_it_is_not_told_of_a_broken_connection_instead() -> None:
    catalogue = Catalogue()
    taken: Accept = lambda _kind, _changes: asyncio.sleep(0)  # noqa: E731
    link = Link(catalogue, records.FROM_AGENTS, ())
    running = asyncio.create_task(exchange(link, Session(catalogue, taken), broken_when_cancelled(), ignored))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
