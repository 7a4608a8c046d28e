"""The `fedgate` command with a watch on its event loop: `stalls.py FILE COMMAND …`.

Each time that nothing had its turn for 2 ms or more is a line in FILE: `NANOSECONDS WALL CPU`. That is when,
by the clock that all processes of a machine share, for how many nanoseconds, and for how many of these the
loop's own thread had a processor.
"""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from typing import Final

from federation.cli import main
from federation.lifecycle import Stop

_LOOK_EVERY: Final = 0.001
_WORTH_NOTING: Final = 2_000_000


async def _watch(file: int) -> None:
    while True:
        wall, cpu = time.monotonic_ns(), time.thread_time_ns()
        await asyncio.sleep(_LOOK_EVERY)
        now = time.monotonic_ns()
        if (late := now - wall - int(_LOOK_EVERY * 1e9)) > _WORTH_NOTING:
            os.write(file, b"%d %d %d\n" % (now, late, time.thread_time_ns() - cpu))


def watch(path: str) -> None:
    """Have whatever runs until it is told to stop be watched."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    unwatched = Stop.run

    async def run(stop: Stop, *parts: Coroutine[object, object, object]) -> None:
        await unwatched(stop, *parts, _watch(file))

    setattr(Stop, "run", run)  # noqa: B010  a method cannot be assigned


if __name__ == "__main__":
    watch(sys.argv.pop(1))
    sys.exit(main())
