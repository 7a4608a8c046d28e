"""Work for many connections leaves room for everything else."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise

from federation.sync.turns import Turns


def _work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def look(done: list[int], seen: list[int]) -> None:
    """Note at each turn of the loop how much is done, until all 20 are."""
    while len(done) < 20:
        seen.append(len(done))
        await asyncio.sleep(0)


async def test_everybody_else_has_a_look_in_between() -> None:
    turns, done, seen = Turns(), list[int](), list[int]()

    async def work(number: int) -> None:
        await turns.take()
        _work(0.003)
        done.append(number)

    await asyncio.gather(*map(work, range(20)), look(done, seen))
    assert done == list(range(20))
    # Each look finds one more done than the one before: never two pieces of work without a look between.
    assert all(later - earlier <= 1 for earlier, later in pairwise(seen))


async def test_a_little_work_of_many_is_done_at_once() -> None:
    turns, done = Turns(budget=60), list[int]()

    async def work(number: int) -> None:
        await turns.take()
        done.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert len(done) == 5
    await asyncio.gather(*tasks)


async def test_who_gives_up_does_not_hold_up_the_others() -> None:
    turns, done = Turns(), list[int]()

    async def work(number: int) -> None:
        await turns.take()
        _work(0.003)
        done.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [0, 2, 4, 5]


async def test_much_that_comes_at_once_is_gone_through_with_looks_in_between() -> None:
    done, seen = list[int](), list[int]()

    async def there_already() -> AsyncIterator[int]:
        for number in range(20):
            yield number

    async def work() -> None:
        async for number in Turns().each(there_already()):
            _work(0.003)
            done.append(number)

    await asyncio.gather(look(done, seen), work())
    assert done == list(range(20))
    assert all(later - earlier <= 1 for earlier, later in pairwise([*seen, 20]))


async def test_hundreds_are_woken_a_few_at_a_time_each_once() -> None:
    turns, events, seen = Turns(), [asyncio.Event() for _ in range(200)], [0]
    for event in [*events, *events]:
        turns.wake(event)
    while seen[-1] < len(events):
        assert len(seen) < 100
        await asyncio.sleep(0)
        seen.append(sum(event.is_set() for event in events))
    assert max(later - earlier for earlier, later in pairwise(seen)) < 50
    for event in events:
        event.clear()
    turns.wake(events[7])
    await asyncio.wait_for(events[7].wait(), 1)
    assert sum(event.is_set() for event in events) == 1
