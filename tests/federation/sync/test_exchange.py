"""A link over a connection that is a fake."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import count

import pytest

from federation.errors import SyncRefused
from federation.sync import records
from federation.sync.exchange import Session, exchange
from federation.sync.frames import Ask, Frame
from federation.sync.link import Link
from federation.sync.turns import Turns
from gateway.delta import Catalogue, Request, Resource


async def broken_when_cancelled() -> AsyncIterator[Frame]:
    """Nothing to hear, until the connection breaks because it is being given up."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise SyncRefused("closed", "the connection broke") from None
    yield  # type: ignore[misc]


async def ignored(_frame: Frame) -> None:
    pass


async def taken(_kind: str, _changes: Mapping[str, bytes | None]) -> None:
    pass


async def test_who_ends_it_is_not_told_of_a_broken_connection_instead() -> None:
    catalogue = Catalogue()
    link = Link(catalogue, records.FROM_AGENTS, ())
    running = asyncio.create_task(
        exchange(link, Session(catalogue, taken), broken_when_cancelled(), ignored, Turns())
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def asking_on_and_on() -> AsyncIterator[Frame]:
    """Somebody who asks for everything, and says to each answer that he has it: the nonces can be guessed."""
    yield Ask(Request(records.EXPORT))
    for nonce in count(1):
        await asyncio.sleep(0)
        yield Ask(Request(records.EXPORT, subscribe=("shop/cart",), nonce=str(nonce)))


async def test_who_asks_on_and_on_and_reads_no_answer_is_hung_up_on() -> None:
    catalogue, begun = Catalogue(), list[Frame]()
    catalogue.update(records.EXPORT, {"shop/cart": Resource.of("shop/cart", b"{}")})

    async def never_taken(frame: Frame) -> None:
        begun.append(frame)
        await asyncio.Event().wait()

    link = Link(catalogue, records.FROM_AGENTS, ())
    async with asyncio.timeout(10):
        with pytest.raises(SyncRefused, match="more than 64 answers") as refused:
            await exchange(link, Session(catalogue, taken), asking_on_and_on(), never_taken, Turns())
    assert refused.value.code == "not-reading"
    assert len(begun) == 1


async def test_who_reads_may_ask_on_and_on() -> None:
    catalogue, read = Catalogue(), list[Frame]()
    catalogue.update(records.EXPORT, {"shop/cart": Resource.of("shop/cart", b"{}")})

    async def read_at_once(frame: Frame) -> None:
        read.append(frame)
        await asyncio.sleep(0)

    async def some() -> AsyncIterator[Frame]:
        async for frame in asking_on_and_on():
            if len(read) > 1000:
                return
            yield frame

    async with asyncio.timeout(10):
        await exchange(
            Link(catalogue, records.FROM_AGENTS, ()), Session(catalogue, taken), some(), read_at_once, Turns()
        )
