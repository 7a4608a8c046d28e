"""A load of calls from one host, in all protocols of the demo: many new connections, and some that are kept.

    python -m federation.demo.load catalog.shop.svc.clusterset.local --server 10.0.0.1:53 --log calls.jsonl

Calls begin by the clock, however the ones before go. Each new connection asks the name server afresh, once,
and dials one of the addresses that it is told, once: nothing is tried again, so each fault that a caller
could notice is a call that failed. A kept connection is opened the same way; it is used until it has had its
time, or until the other side has said that it ends, and then another is opened for the next call.

Every call is a line of the log, see `Made`. SIGTERM ends it, when the calls under way have ended.
"""

import argparse
import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TextIO

import uvloop

from federation.demo import speakers
from federation.demo.clients import Misunderstood
from federation.demo.lookup import NoAnswer, ask
from federation.demo.speakers import FAULTS, Dialled, Speaker
from federation.demo.tally import Made
from federation.settings import host_port

_CALL_TIMEOUT: Final = 10.0
_FLUSH_EVERY: Final = 0.2
# One lookup in so many goes over TCP.
_TCP_LOOKUPS: Final = 8

Speak = Callable[[Dialled], Speaker]


@dataclass(frozen=True, slots=True)
class Way:
    """A protocol, the port that speaks it, and how."""

    protocol: str
    port: int
    speak: Speak


@dataclass(frozen=True, slots=True)
class Target:
    """What is called: a name, where it is looked up, in which IP versions, and who is to answer."""

    name: str
    server: tuple[str, int]
    families: tuple[int, ...]
    service: str
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """How many connections are opened a second, how many calls are made on each kept one, for how long."""

    new: float
    kept: float
    life: float


@dataclass(slots=True)
class Load:
    """One caller's calls; they are written to *log*."""

    target: Target
    log: TextIO
    clock: Callable[[], float] = time.monotonic
    _turn: "count[int]" = field(default_factory=count)

    async def run(self, pace: Pace, stop: asyncio.Event) -> None:
        """Call until *stop*, and until what is under way then has ended."""
        async with asyncio.TaskGroup() as group:
            flushing = group.create_task(self._flush())
            async with asyncio.TaskGroup() as calls:
                for way in self.target.ways:
                    calls.create_task(self._keep_calling(way, pace, stop))
                async for number in _beats(pace.new, stop):
                    calls.create_task(self._call_anew(self.target.ways[number % len(self.target.ways)]))
            flushing.cancel()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_EVERY)
            self.log.flush()

    async def _call_anew(self, way: Way) -> None:
        """One call on a connection of its own."""
        began = self.clock()
        try:
            async with asyncio.timeout(_CALL_TIMEOUT), self._connected(way) as speaker:
                answered_by = await self._answered(speaker)
                await speaker.finish()
        except FAULTS as fault:
            self._note(way, began, began, failure=fault)
        else:
            self._note(way, began, began, answered_by)

    async def _keep_calling(self, way: Way, pace: Pace, stop: asyncio.Event) -> None:
        """Calls on one connection after the other, each for as long as it has."""
        beats = _beats(pace.kept, stop)
        async for _ in beats:
            opened = began = self.clock()
            try:
                async with self._connected(way) as speaker:
                    while True:
                        async with asyncio.timeout(_CALL_TIMEOUT):
                            answered_by = await self._answered(speaker)
                        self._note(way, opened, began, answered_by)
                        over = await anext(beats, None) is None or self.clock() > opened + pace.life
                        began = self.clock()
                        if over or not speaker.usable:
                            break
                    if speaker.usable:
                        async with asyncio.timeout(_CALL_TIMEOUT):
                            await speaker.finish()
            except FAULTS as fault:
                self._note(way, opened, began, failure=fault)

    @asynccontextmanager
    async def _connected(self, way: Way) -> AsyncIterator[Speaker]:
        """A connection, to what the name server says at this moment; closed when the block is left."""
        turn = next(self._turn)
        async with asyncio.timeout(_CALL_TIMEOUT):
            # Every protocol takes its turn with every IP version, and every VIP.
            round_ = turn // len(self.target.ways)
            family = self.target.families[round_ % len(self.target.families)]
            by_tcp = turn % _TCP_LOOKUPS == _TCP_LOOKUPS - 1
            found = await ask(self.target.name, family, self.target.server, by_tcp=by_tcp)
            if not found:
                raise NoAnswer(f"{self.target.name} has no IPv{family} address")
            address = found[round_ // len(self.target.families) % len(found)]
            reader, writer = await asyncio.open_connection(address, way.port)
        dialled = Dialled(reader, writer, f"{self.target.name}:{way.port}")
        try:
            speaker = way.speak(dialled)
            async with asyncio.timeout(_CALL_TIMEOUT):
                await speaker.begin()
            yield speaker
        finally:
            dialled.close()

    async def _answered(self, speaker: Speaker) -> str:
        """Make a call; it must be the service that answers, in whichever cluster."""
        answered_by = await speaker.call()
        if answered_by.partition("@")[0] != self.target.service:
            raise Misunderstood(f"answered by {answered_by}")
        return answered_by

    def _note(
        self,
        way: Way,
        opened: float,
        began: float,
        answered_by: str = "",
        failure: BaseException | None = None,
    ) -> None:
        why = "" if failure is None else _why(failure)
        self.log.write(Made(began, self.clock(), opened, way.protocol, answered_by, why).encode())


def _why(fault: BaseException) -> str:
    """A fault in a few words, the same for all of its kind."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    if isinstance(fault, asyncio.IncompleteReadError):
        return "closed before the answer"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return str(fault) or type(fault).__name__


async def _beats(rate: float, stop: asyncio.Event) -> AsyncIterator[int]:
    """Numbers from 0, *rate* of them a second by the clock, until *stop*; what is late is not left out."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in count():
        try:
            async with asyncio.timeout_at(began + number / rate):
                await stop.wait()
        except TimeoutError:
            yield number
        if stop.is_set():
            return


def ways(http: int, grpc: int, tcp: int) -> tuple[Way, ...]:
    """All protocols of the demo, by the ports that speak them."""
    return (
        Way("HTTP/1.1", http, speakers.Http1),
        Way("HTTP/2", http, speakers.Http2),
        Way("gRPC", grpc, speakers.grpc),
        Way("WebSocket", http, speakers.WebSocket),
        Way("TCP", tcp, speakers.Tcp),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Call until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m federation.demo.load", description="Call and count.")
    parser.add_argument("name")
    parser.add_argument("--server", required=True, help="the name server to ask, ADDRESS:PORT")
    parser.add_argument("--log", required=True, type=Path, help="where to write the calls")
    parser.add_argument("--family", type=int, action="append", choices=(4, 6), help="IP version; repeatable")
    parser.add_argument("--http", type=int, default=8080)
    parser.add_argument("--grpc", type=int, default=9090)
    parser.add_argument("--tcp", type=int, default=7070)
    parser.add_argument("--new", type=float, default=30.0, help="connections opened a second")
    parser.add_argument("--kept", type=float, default=10.0, help="calls a second on each kept connection")
    parser.add_argument("--life", type=float, default=4.0, help="seconds for which a connection is kept")
    said = parser.parse_args(argv)
    service = said.name.partition(".")[0]
    families = tuple(said.family or (4, 6))
    target = Target(
        said.name, host_port(said.server, 53), families, service, ways(said.http, said.grpc, said.tcp)
    )
    with said.log.open("w") as log:
        uvloop.run(_run(Load(target, log), Pace(said.new, said.kept, said.life)))


async def _run(load: Load, pace: Pace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("ready", flush=True)
    await load.run(pace, stop)


if __name__ == "__main__":
    main()
