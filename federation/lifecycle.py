"""How a long-running part runs: until it is told to stop, or until something in it cannot go on."""

import asyncio
import ctypes
import gc
import resource
import signal
from collections.abc import Coroutine, Mapping
from typing import Final, TypeVar

T = TypeVar("T")

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 64 * 1024
_GIVEN_BACK_EVERY: Final = 10.0
_NEW_THINGS: Final = 700  # as Python has it


def use_all_descriptors() -> None:
    """Raise the limit of open files as far as we may: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def give_back_large_pieces() -> None:
    """Have the C library return the memory of large messages to the system as soon as they are gone.

    It raises its own bounds when it sees such messages come and go, and keeps their memory, in pieces: after
    200 agents had been told of 10,000 services that was 140 MiB of 310. Other C libraries are left alone.
    See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)


async def keep_giving_back(every: float = _GIVEN_BACK_EVERY) -> None:
    """Give back, for ever, the pages that are free between others which are not: bounds do not reach these.

    After 500 agents had been told of 10,000 services they were 47 MiB of 255.
    """
    while True:
        await asyncio.sleep(every)
        await asyncio.to_thread(give_back)


def give_back() -> None:
    """Give back each free page: 5 ms for 50 MiB, without the interpreter's lock. See malloc_trim(3)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_what_stays(after: int = _NEW_THINGS) -> None:
    """Have the garbage collector look at each thing that stays once, and so at a portion at a time.

    What a full collection has found to stay is left alone from then on: over ten thousand services the next
    would stop everything for 0.2 s. What of it goes away later is freed all the same, unless it refers to
    itself; what our connections have does not. Full ones are frequent, and so each has little to look at.

    The collector comes *after* so many things were made that were not freed. A change replaces some things of
    each of 500 connections: by Python's own bound thousands had come together, and took it 5 to 12 ms.
    Who has few connections and large mappings does not want it so often: it walks through these each time.
    """

    def left_alone(phase: str, info: Mapping[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()

    gc.callbacks.append(left_alone)
    gc.set_threshold(after, 5, 1)


class Stop:
    """Told to stop by SIGTERM, by Ctrl-C, or from inside."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._told.set)

    def tell(self) -> None:
        """Stop, soon."""
        self._told.set()

    async def run(self, *parts: Coroutine[object, object, object]) -> None:
        """Run *parts* side by side until told to stop; the first error of one ends all, and is raised."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part) for part in parts]
                await self._told.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of errors: what ended the others."""
    error = errors.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error
