"""Work for many connections, a little at a time, so that the event loop never stands still for long.

One change wakes hundreds of connections in the same turn of the loop, and each has something to write.
Hundreds of agents that come back at once have thousands of versions each to be compared. Nothing else would
be heard until all of it is done.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

_BUDGET: Final = 0.002  # seconds
_WOKEN_AT_ONCE: Final = 25


class Turns:
    """Shares out the turns of one event loop: some *budget* of seconds is for the work that asks."""

    def __init__(self, budget: float = _BUDGET) -> None:
        self._budget = budget
        self._lock = asyncio.Lock()
        self._until: float | None = None
        self._to_wake: dict[asyncio.Event, None] = {}

    async def take(self) -> None:
        """Wait, if there was enough in this turn of the loop; in the order of asking."""
        async with self._lock:
            if self._until is not None and time.monotonic() >= self._until:
                await asyncio.sleep(0)
            if self._until is None:
                self._until = time.monotonic() + self._budget
                asyncio.get_running_loop().call_soon(self._over)

    async def each(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """*items*, each in its turn, also when hundreds are there already."""
        async for item in items:
            await self.take()
            yield item

    def wake(self, event: asyncio.Event) -> None:
        """Set *event* soon, a few in each turn of the loop."""
        if not self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)
        self._to_wake[event] = None

    def _wake_some(self) -> None:
        for event in tuple(islice(self._to_wake, _WOKEN_AT_ONCE)):
            del self._to_wake[event]
            event.set()
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _over(self) -> None:
        self._until = None
