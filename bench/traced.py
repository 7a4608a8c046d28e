"""The `fedgate` command with a clock at each stage of a change: `traced.py FILE COMMAND …`.

Nothing else is different. Each stage is a line in FILE, `NANOSECONDS STAGE`, by the clock that all processes
of a machine share.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

from federation.agent import Agent
from federation.broadcast import Broadcast
from federation.cli import main
from federation.sessions import Sessions
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
    for owner, method, traced in (
        (Agent, "read", noted(Agent.read, "read", "published")),
        (Agent, "_accept", noted_async(Agent._accept, "learned", "followed")),
        (Broadcast, "follow", noted(Broadcast.follow, "", "broadcast")),
        (Sessions, "_accept", noted_async(Sessions._accept, "heard", "written")),
        (Stream, "receive", receive),
    ):
        setattr(owner, method, traced)


if __name__ == "__main__":
    trace(sys.argv.pop(1))
    sys.exit(main())
