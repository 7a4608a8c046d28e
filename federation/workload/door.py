"""The Workload API's socket, which everybody on this machine may knock at.

gRPC's server does not tell who is at the other end of a unix socket, so connections are taken here, where the
kernel says it, and each is carried on to the server over a socket inside a folder of our own. The name of
that inner connection is all that the server has to ask about. What one user sends, and how many connections
it has, is bounded here too, before the server has seen any of it.
"""

import asyncio
import os
import socket
import stat
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.attestation import Process
from federation.log import Log
from gateway.errors import CannotListen
from gateway.rpc import answers, bound_in_place, remove_own

log = Log(__name__)

_CREDENTIALS: Final = struct.Struct("iII")
_PIECE: Final = 16 * 1024
_BACKLOG: Final = 128
_PAUSE: Final = 1.0
_MOST_ALLOWANCES: Final = 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """What users may take: connections, all together and each, and bytes a second.

    Strangers are processes that are no workload. They are told so, and that takes little.
    """

    connections: int = 1024
    connections_each: int = 128
    strangers: int = 64
    strangers_each: int = 8
    rate: float = 64 * 1024
    stranger_rate: float = 8 * 1024
    burst: float = 4.0
    """How many seconds' worth may come at once."""
    connecting: int = 4096
    """What a connection costs, in bytes."""


@dataclass(frozen=True, slots=True)
class _User:
    """On whose account a connection goes."""

    uid: int
    known: bool


class Allowance:
    """How much a user may send at this moment: it fills up with time."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._most = self._left = rate * burst
        self._at = now

    def take(self, size: int, now: float) -> float:
        """Take *size* bytes; says how many seconds to wait for them."""
        self._left = min(self._most, self._left + (now - self._at) * self._rate) - size
        self._at = now
        return max(0.0, -self._left / self._rate)


class Door:
    """Takes connections, and knows whose each is. *known* says whether a process is some workload."""

    def __init__(self, known: Callable[[Process], bool], bounds: Bounds | None = None) -> None:
        self._known = known
        self._bounds = bounds or Bounds()
        self._processes: dict[str, Process] = {}
        self._open: Counter[_User] = Counter()
        self._allowances: dict[_User, Allowance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.turned_away = 0
        """How many connections were one too many."""

    @property
    def connections(self) -> int:
        """How many there are."""
        return self._open.total()

    def process(self, peer: str) -> Process | None:
        """Whose connection *peer* is, as the server names it; None if it did not come through here."""
        return self._processes.get(peer)

    @asynccontextmanager
    async def open(self, path: Path, inner: Path, *, replace: bool = False) -> AsyncIterator[None]:
        """Take connections at *path* and carry them on to *inner*, until the block is left.

        With *replace* a socket at *path* that another process serves is taken from it.
        """
        _check_folder(path.parent)
        if not replace and answers(path):
            raise CannotListen(str(path), "another process serves it")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.setblocking(False)
            try:
                identity = bound_in_place(listener, path, mode=0o666)
            except OSError as error:
                raise CannotListen(str(path), error.strerror or str(error)) from error
            listener.listen(_BACKLOG)
            taking = asyncio.create_task(self._take(listener, inner))
            try:
                yield
            finally:
                remove_own(path, identity)
                await _ended(taking, *self._tasks)

    async def _take(self, listener: socket.socket, inner: Path) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors, most likely: look again when some may be free
                log.warning("workloads not heard", reason=str(error))
                await asyncio.sleep(_PAUSE)
                continue
            process = _at_the_other_end(connection)
            user = _User(process.uid, self._known(process))
            if not self._has_room(user):
                self.turned_away += 1
                connection.close()
                continue
            self._open[user] += 1
            task = loop.create_task(self._carry(connection, inner, process, user))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _has_room(self, user: _User) -> bool:
        bounds = self._bounds
        if self.connections >= bounds.connections:
            return False
        if user.known:
            return self._open[user] < bounds.connections_each
        strangers = sum(count for other, count in self._open.items() if not other.known)
        return strangers < bounds.strangers and self._open[user] < bounds.strangers_each

    async def _carry(self, connection: socket.socket, inner: Path, process: Process, user: _User) -> None:
        """Carry one connection until either end closes it."""
        loop = asyncio.get_running_loop()
        allowance = self._allowance(user)
        name = ""
        try:
            with connection, socket.socket(socket.AF_UNIX) as onward, suppress(OSError):
                connection.setblocking(False)
                onward.setblocking(False)
                await asyncio.sleep(allowance.take(self._bounds.connecting, time.monotonic()))
                onward.bind("")  # to a name that the kernel makes up
                name = _peer_name(onward)
                self._processes[name] = process
                await loop.sock_connect(onward, str(inner))
                up = asyncio.create_task(_pump(connection, onward, allowance))
                down = asyncio.create_task(_pump(onward, connection))
                try:
                    await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await _ended(up, down)
        finally:
            self._processes.pop(name, None)
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    def _allowance(self, user: _User) -> Allowance:
        """The one allowance of *user*; it outlives its connections, or coming again would renew it."""
        if len(self._allowances) >= _MOST_ALLOWANCES:
            self._allowances = {u: a for u, a in self._allowances.items() if u in self._open}
        rate = self._bounds.rate if user.known else self._bounds.stranger_rate
        return self._allowances.setdefault(user, Allowance(rate, self._bounds.burst, time.monotonic()))


async def _pump(source: socket.socket, sink: socket.socket, allowance: Allowance | None = None) -> None:
    """Carry what *source* says to *sink*, no faster than *allowance* allows."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while piece := await loop.sock_recv(source, _PIECE):
            if allowance is not None:
                await asyncio.sleep(allowance.take(len(piece), time.monotonic()))
            await loop.sock_sendall(sink, piece)


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _at_the_other_end(connection: socket.socket) -> Process:
    """Who connected: user and group from the kernel, and the program as long as it lives and we may know."""
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(content)
    try:
        path = str(Path(f"/proc/{pid}/exe").readlink()) if pid else ""
    except OSError:
        path = ""
    return Process(pid, uid, gid, path)


def _peer_name(connection: socket.socket) -> str:
    """*connection* as gRPC's server names the one who called it by it."""
    name: bytes = connection.getsockname()
    return f"unix-abstract:{name[1:].decode()}"


def _check_folder(folder: Path) -> None:
    """Make *folder* if need be, for all to enter; refuse one in which others could put their own socket.

    Who can do that can tell workloads whom to trust.
    """
    try:
        if not folder.exists():
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)
        status = folder.stat()
    except OSError as error:
        raise CannotListen(str(folder), error.strerror or str(error)) from error
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
    if others or status.st_uid not in {os.geteuid(), 0}:
        raise CannotListen(str(folder), "others could put a socket of their own there; chmod it to 0755")
