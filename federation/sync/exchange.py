"""Keeps a link going over a connection: hears, applies, answers, and tells what changes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from clusters.errors import ClusterError
from federation.errors import ChangesRejected, SyncRefused, UnreadableRecord
from federation.log import Log
from federation.sync.frames import Again, Ask, Bye, Frame, Tell
from federation.sync.link import Link
from federation.sync.turns import Turns
from gateway.delta import Response, Served

Accept = Callable[[str, Mapping[str, bytes | None]], Awaitable[Mapping[str, str] | None]]
Send = Callable[[Frame], Awaitable[None]]

# Each kind has one answer at most that was not heard, so one that reads what it is told owes a handful.
_MOST_UNSENT: Final = 64

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """One side's part in a connection.

    The other side reads *catalogue*. What it publishes goes to *accept*, by kind: the body of each name that
    is new, None for each that is gone. All of it is applied but for what *accept* names, with why not; or
    nothing: then ChangesRejected, UnreadableRecord or a ClusterError says what is wrong with it. Any other
    error ends the connection, and what was not applied is told again on the next.
    *held* gives, by kind and name, the versions of what is here already from earlier connections.
    """

    catalogue: Served
    accept: Accept
    held: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


async def exchange(
    link: Link, session: Session, frames: AsyncIterator[Frame], send: Send, turns: Turns
) -> None:
    """Speak until the other side hangs up; raise SyncRefused if it says why, or does not read what we say.

    Work is done in *turns* with that for other connections.
    """
    outbox: list[Frame] = [*link.open()]
    wake = asyncio.Event()
    wake.set()

    def changed(kind: str, names: Set[str]) -> None:
        link.changed(kind, names)
        turns.wake(wake)

    async def hear() -> None:
        async for frame in frames:
            match frame:
                case Ask(request):
                    outbox.extend(link.asked(request))
                case Tell(response):
                    outbox.append(await _apply(link, session.accept, response))
                case Again(kind):
                    outbox.append(link.again(kind))
                case Bye(code, reason, hint):
                    raise SyncRefused(code, reason, hint)
                case _:
                    raise SyncRefused("bad-frame", f"a {type(frame).__name__} in the middle of a connection")
            if len(outbox) > _MOST_UNSENT:
                raise SyncRefused("not-reading", f"more than {_MOST_UNSENT} answers wait to be read")
            if outbox:
                wake.set()

    async def speak() -> None:
        while True:
            await wake.wait()
            wake.clear()
            await turns.take()
            waiting = [*outbox, *link.flush()]
            outbox.clear()
            for frame in waiting:
                await send(frame)

    stop_listening = session.catalogue.listen(changed)
    try:
        await first_of(hear(), speak())
    finally:
        stop_listening()


async def first_of(*parts: Coroutine[object, object, None]) -> None:
    """Run *parts* side by side until one of them ends; end the others, and raise its error.

    What a part had is freed as it ends. A TaskGroup's error refers to itself by way of the group: it, and all
    that its parts had, would wait for the garbage collector.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    try:
        for end in ends:
            if isinstance(end, Exception):
                raise end
    finally:
        del tasks, task, ends, end


async def _apply(link: Link, accept: Accept, response: Response) -> Ask:
    link.told(response)
    try:
        refused = await accept(response.kind, response.changes)
    except (ChangesRejected, UnreadableRecord, ClusterError) as error:
        log.warning("changes rejected", kind=response.kind, names=len(response.changes), reason=str(error))
        return link.rejected(response, str(error))
    if refused:
        log.warning(
            "changes refused", kind=response.kind, names=len(refused), reason=next(iter(refused.values()))
        )
    return link.applied(response, refused or {})
