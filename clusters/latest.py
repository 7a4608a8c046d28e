"""One cell that holds the newest value: writers never wait, slow readers skip ahead."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest *T*, and a way to wait for a newer one. For one event loop."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """What was set last."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake every reader; an equal value wakes nobody."""
        if value == self._value:
            return
        self._value = value
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield the value as it is now, and then each newer one, skipping those that were missed."""
        seen = -1
        while True:
            if seen == self._version:
                await self._changed.wait()
            seen = self._version
            yield self._value
