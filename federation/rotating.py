"""What came of doing what was due, and that only one does it at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec


class Item(msgspec.Struct, frozen=True):
    """One certificate, or whoever is in its way: what it is, whose, and what there is to say of it."""

    what: str
    name: str
    detail: str = ""
    hint: str = ""


class Rotated(msgspec.Struct, frozen=True):
    """What was renewed, what is due still, who has not acknowledged something, and what went wrong."""

    done: tuple[Item, ...] = ()
    due: tuple[Item, ...] = ()
    lagging: tuple[Item, ...] = ()
    failed: tuple[Item, ...] = ()

    def and_then(self, more: "Rotated") -> "Rotated":
        """This, and what came of the next."""
        return Rotated(
            (*self.done, *more.done),
            (*self.due, *more.due),
            (*self.lagging, *more.lagging),
            (*self.failed, *more.failed),
        )


Work = Callable[[bool], Awaitable[Rotated]]


class OneAtATime:
    """Has *work* done by one at a time. Who comes while another forces everything has nothing to force."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._lock = asyncio.Lock()
        self._forcing = False

    async def alone(self, work: Callable[[], Awaitable[Rotated]]) -> Rotated:
        """Do other *work* while nobody does this."""
        async with self._lock:
            return await work()

    async def rotate(self, *, force: bool = False) -> Rotated:
        """Do what is due; with *force* everything, due or not."""
        forced_already = self._forcing
        async with self._lock:
            forced = force and not forced_already
            self._forcing = forced
            try:
                return await self._work(forced)
            finally:
                self._forcing = False
