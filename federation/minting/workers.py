"""The agent's workers: one process a core, started when the first SVID is asked for.

Python signs on one core at a time, threads or not: `docs/decisions/issuance.md` has the figures.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import msgspec

from federation.errors import WorkerLost
from federation.log import Log
from federation.minting import worker
from federation.minting.signing import Asked, Charge, Signed, Work, charge_of, shares
from pki.authority import Authority

log = Log(__name__)

_MOST_WORKERS: Final = 16
_LEAST_SHARE: Final = 16
_ENDS_WITHIN: Final = 10.0

_signed_of = msgspec.msgpack.Decoder(list[Signed]).decode


class Workers:
    """Signs by the issuing CA that *authority* gives: when it is another, so are the workers."""

    def __init__(
        self,
        authority: Callable[[], Authority],
        trust_domain: str,
        lifetime: timedelta,
        count: int | None = None,
    ) -> None:
        self._authority_now = authority
        self._trust_domain = trust_domain
        self._lifetime = lifetime
        self._count = count or min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
        self._authority: Authority | None = None
        self._workers: list[_Worker] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that sign now."""
        return tuple(each.pid for each in self._workers)

    async def sign(self, asked: Sequence[Asked], now: datetime) -> tuple[Authority, list[Signed]]:
        """An answer for each of *asked*, in order, and who signed; WorkerLost if a worker ends meanwhile."""
        authority, workers = await self._ready()
        parts = shares(asked, len(workers), _LEAST_SHARE)
        least_busy = sorted(workers, key=lambda each: each.waiting)
        done = await asyncio.gather(*(each.sign(part, now) for each, part in zip(least_busy, parts)))  # noqa: B905
        return authority, [signed for part in done for signed in part]

    @asynccontextmanager
    async def ended(self) -> AsyncIterator[None]:
        """End all workers when the block is left."""
        try:
            yield
        finally:
            self._retire(self._workers)
            if self._ending:
                await asyncio.wait(self._ending)

    async def _ready(self) -> tuple[Authority, list["_Worker"]]:
        async with self._starting:
            authority = self._authority_now()
            if authority is not self._authority:
                self._retire(self._workers)
                self._authority = authority
            self._retire([each for each in self._workers if not each.alive])
            if missing := self._count - len(self._workers):
                charge = charge_of(authority, self._trust_domain, self._lifetime)
                self._workers += [await _Worker.started(charge) for _ in range(missing)]
                log.info("signing workers started", count=missing)
            return authority, self._workers

    def _retire(self, workers: Sequence["_Worker"]) -> None:
        """Let *workers* answer what they were asked, and end."""
        for each in workers:
            task = asyncio.create_task(each.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._workers = [each for each in self._workers if each not in workers]


class _Worker:
    """One process, and those who wait for its answers, which come in the order of the questions."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.alive = True
        self._process = process
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[list[Signed]]] = deque()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def started(cls, charge: Charge) -> "_Worker":
        """A new process with *charge*, which goes through memory alone."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _process(theirs)
        started = cls(process, *await asyncio.open_connection(sock=ours))
        started._send(msgspec.msgpack.encode(charge))
        return started

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def waiting(self) -> int:
        """How many questions are not answered yet."""
        return len(self._waiting)

    async def sign(self, asked: Sequence[Asked], now: datetime) -> list[Signed]:
        """An answer for each of *asked*; WorkerLost if the process ends before."""
        if not self.alive:
            raise WorkerLost(self.pid)
        answer: asyncio.Future[list[Signed]] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._send(msgspec.msgpack.encode(Work(now, tuple(asked))))
        return await answer

    async def end(self) -> None:
        """Have it answer what it was asked, and end."""
        if self.alive:
            self._writer.write_eof()
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                await self._listening
        except TimeoutError:
            log.warning("signing worker killed", pid=self.pid)
            self._process.kill()
        await asyncio.to_thread(self._process.wait)

    def _send(self, content: bytes) -> None:
        self._writer.write(worker.HEADER.pack(len(content)) + content)

    async def _listen(self) -> None:
        """Give each answer to who waits for it; when there is no more to come, say so to all who wait."""
        try:
            while True:
                (size,) = worker.HEADER.unpack(await self._reader.readexactly(worker.HEADER.size))
                signed = _signed_of(await self._reader.readexactly(size))
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(signed)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.alive = False
            self._writer.close()
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(WorkerLost(self.pid))


def _process(connection: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", worker.__name__], stdin=connection.fileno())
