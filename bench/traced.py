"""The `fedgate` command with a clock at each stage of a change: `traced.py FILE COMMAND …`.

Nothing else is different. Each stage is a line in FILE, `NANOSECONDS STAGE`, by the clock that all processes
of a machine share.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, ParamSpec, TypeVar

from clusters.sources.file import Reading
from federation.agent import Agent
from federation.cli import main
from federation.registry.clusterset import Change
from federation.sessions import Broadcast, Sessions
from gateway.delta import Request, Response
from gateway.kinds import ENDPOINT
from gateway.stream import Stream

P = ParamSpec("P")
T = TypeVar("T")

STAGES: Final = ("read", "published", "heard", "written", "broadcast", "learned", "followed", "acked")
"""In their order: the near agent's, the hub's, and those of the far agent until its Envoy's answer."""


def trace(path: str) -> None:
    """Note the time of each stage in the file at *path*, from now on."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(stage: str) -> None:
        os.write(file, b"%d %s\n" % (time.monotonic_ns(), stage.encode()))

    def noted(function: Callable[P, T], before: str, after: str) -> Callable[P, T]:
        def call(*args: P.args, **named: P.kwargs) -> T:
            if before:
                note(before)
            result = function(*args, **named)
            if after:
                note(after)
            return result

        return call

    def noted_async(
        function: Callable[P, Awaitable[T]], before: str, after: str
    ) -> Callable[P, Awaitable[T]]:
        async def call(*args: P.args, **named: P.kwargs) -> T:
            note(before)
            result = await function(*args, **named)
            note(after)
            return result

        return call

    def receive(stream: Stream, request: Request) -> list[Response]:
        if request.kind == ENDPOINT and request.nonce and not request.error:
            note("acked")
        return untraced_receive(stream, request)

    untraced_receive = Stream.receive
    read: Callable[[Agent, Reading], None] = Agent.read
    follow: Callable[[Broadcast, Change], None] = Broadcast.follow
    accept: Callable[[Agent, str, Mapping[str, bytes | None]], Awaitable[None]] = Agent._accept
    hear: Callable[[Sessions, str, str, Mapping[str, bytes | None]], Awaitable[None]]
    hear = Sessions._accept  # type: ignore[assignment]
    Agent.read = noted(read, "read", "published")  # type: ignore[method-assign,assignment]
    Agent._accept = noted_async(accept, "learned", "followed")  # type: ignore[method-assign,assignment]
    Broadcast.follow = noted(follow, "", "broadcast")  # type: ignore[method-assign,assignment]
    Sessions._accept = noted_async(hear, "heard", "written")  # type: ignore[method-assign,assignment]
    Stream.receive = receive  # type: ignore[method-assign]


if __name__ == "__main__":
    trace(sys.argv.pop(1))
    sys.exit(main())
