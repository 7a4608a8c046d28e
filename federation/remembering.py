"""Keeping an agent's view on its disk as it changes, for a start without hub and source."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from federation import last_view
from federation.last_view import LastView

_TICK: Final = 0.5
_MOST_TICKS: Final = 10  # that a change waits for the disk while others follow it
_PAUSE: Final = 0.001


async def remember(
    state: Path, view: Callable[[], object], told: Callable[[], LastView], frozen: Callable[[], bool]
) -> None:
    """Keep what is *told* in *state* whenever *view* is another, but for while the disk is another's.

    It waits until a change is not followed by another at once, so that it is not in the way of that one;
    a view that does not come to rest is kept now and then.
    """
    saved = seen = None
    restless = 0
    while True:
        now = view()
        restless = restless + 1 if now is not saved else 0
        rests = now is seen or restless >= _MOST_TICKS
        if restless and rests and not frozen():
            content = await asyncio.to_thread(last_view.encode, told(), _PAUSE)
            if not frozen():
                await asyncio.to_thread(last_view.write, state, content)
                saved, restless = now, 0
        seen = now
        await asyncio.sleep(_TICK)
