"""One at a time: of two who rotate at once, one does the work."""

import asyncio

from federation.rotating import Item, OneAtATime, Rotated


class Slow:
    """Work that takes until it is released; what is not forced finds nothing due the second time."""

    def __init__(self) -> None:
        self.forced: list[bool] = []
        self.release = asyncio.Event()
        self.at_once = self.most = 0

    async def __call__(self, force: bool) -> Rotated:
        self.forced.append(force)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.release.wait()
        self.at_once -= 1
        return Rotated(done=(Item("SVIDs", "3"),)) if force else Rotated()


async def test_of_two_at_once_one_does_the_work() -> None:
    work = Slow()
    one = OneAtATime(work)
    both = [asyncio.create_task(one.rotate(force=True)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.release.set()
    first, second = await asyncio.gather(*both)
    assert (first.done, second.done) == ((Item("SVIDs", "3"),), ())
    assert (work.forced, work.most) == ([True, False], 1)


async def test_who_comes_later_is_served_anew() -> None:
    work = Slow()
    work.release.set()
    one = OneAtATime(work)
    for _ in range(2):
        assert (await one.rotate(force=True)).done


async def test_after_work_that_failed_it_goes_on() -> None:
    async def broken(_force: bool) -> Rotated:
        raise RuntimeError

    one = OneAtATime(broken)
    for _ in range(2):
        result = await asyncio.gather(one.rotate(force=True), return_exceptions=True)
        assert isinstance(result[0], RuntimeError)
