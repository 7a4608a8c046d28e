"""One agent takes over from another on the same state, with nothing unanswered in between.

The new one starts, loads everything it needs, and connects to the old one's `handover.sock`. It is given the
old one's estate: the lock of the state folder and the sockets of the name server, as open files, and what the
old one knows. From then on the old one writes nothing to the disk. The new one makes itself ready, begins to
answer (both read the same sockets now), puts its own ADS and admin sockets in place of the old ones, and
says `taken`. Only then does the old one stop reading, finish what it has begun, and end; and only when it
has ended does the new one write to the disk and call the hub.

    new → old   {"protocol": 1}
    old → new   {"protocol": 1, "dns": [...], "view": 3041, "specs": [...]}, with the open files; the view
    new → old   {"taken": true}
    old → new   (end of file: it has ended, and listens nowhere any more)

A new one that dies before `taken` leaves the old one as it was.
"""

import array
import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.reports import Report
from federation import last_view
from federation.dns.sockets import Bound
from federation.errors import HandoverFailed
from federation.last_view import LastView
from federation.log import Log
from federation.paths import handover_socket
from gateway.rpc import bound_in_place, remove_own
from gateway.spec import GatewaySpec

log = Log(__name__)

PROTOCOL: Final = 1
_TIMEOUT: Final = 30.0
_MAX_FILES: Final = 253  # the kernel's own bound on open files in one message
_MAX_LINE: Final = 1 << 20
_LONGEST_WORD: Final = 4096  # of what a new agent says
_CREDENTIALS: Final = struct.Struct("3i")  # of SO_PEERCRED: process, user, group
_TAKEN: Final = b'{"taken": true}\n'


class _Request(msgspec.Struct):
    protocol: int


class _Header(msgspec.Struct):
    """What comes before the view. The first open file is the lock; then there are two for each address."""

    protocol: int
    dns: tuple[str, ...]
    view: int
    specs: tuple[GatewaySpec, ...]
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Estate:
    """All that an agent leaves to the one that takes over."""

    lock: int
    dns: tuple[Bound, ...]
    last: LastView
    specs: tuple[GatewaySpec, ...]
    reports: tuple[Report, ...] = ()


class Heir:
    """The new agent's end: what it was given, and its word that it has taken it."""

    def __init__(self, connection: socket.socket, estate: Estate) -> None:
        self._connection = connection
        self._peer = _pid_of_peer(connection)
        self.estate = estate

    async def take(self) -> None:
        """Say that everything is answered here now, and wait until the old one has ended.

        Raises HandoverFailed if the old one has not heard it: it goes on, and so must not we.
        """
        self._connection.setblocking(False)
        loop = asyncio.get_running_loop()
        with self._connection:
            try:
                await loop.sock_sendall(self._connection, _TAKEN)
                async with asyncio.timeout(_TIMEOUT):
                    await loop.sock_recv(self._connection, 1)
            except TimeoutError:  # it has retired, and answers nobody any more: somebody has to
                log.warning("the other agent has not ended", pid=self._peer)
            except ConnectionError as error:  # closed without having read what we said
                if _lives(self._peer):
                    raise HandoverFailed("it did not wait for this one to be ready") from error

    def close(self) -> None:
        """Let go of everything; if nothing was taken, the old one goes on."""
        self._connection.close()
        for bound in self.estate.dns:
            bound.close()
        with suppress(OSError):
            os.close(self.estate.lock)


@contextmanager
def asked(state: Path) -> Iterator[Heir | None]:
    """Ask the agent that runs on *state* for its estate; None if there is none that runs.

    Raises HandoverFailed if it does not understand, or breaks off.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.settimeout(_TIMEOUT)
            connection.connect(str(handover_socket(state)))
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
            return
        except OSError as error:
            raise HandoverFailed(f"its socket: {error.strerror or error}") from error
        heir = Heir(connection, _received(connection))
        try:
            yield heir
        finally:
            heir.close()


def _pid_of_peer(connection: socket.socket) -> int:
    """The process at the other end when it began to listen."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _received(connection: socket.socket) -> Estate:
    try:
        connection.sendall(msgspec.json.encode(_Request(PROTOCOL)) + b"\n")
        content, files, _, _ = socket.recv_fds(connection, _MAX_LINE, _MAX_FILES, socket.MSG_CMSG_CLOEXEC)
        while b"\n" not in content and (more := connection.recv(_MAX_LINE)):
            content += more
        line, _, view = content.partition(b"\n")
        header = msgspec.json.decode(line, type=_Header)
        while len(view) < header.view and (more := connection.recv(_MAX_LINE)):
            view += more
    except (OSError, *UNDECODABLE) as error:
        raise HandoverFailed(str(error) or "it broke off") from error
    if len(view) != header.view or len(files) != 1 + 2 * len(header.dns):
        raise HandoverFailed("it broke off")
    lock, *sockets = files
    pairs = zip(header.dns, sockets[::2], sockets[1::2], strict=True)
    dns = tuple(Bound.adopt(address, udp, tcp) for address, udp, tcp in pairs)
    last = last_view.decode(view, "the other agent's view")
    return Estate(lock, dns, last, header.specs, header.reports)


class Legacy:
    """The old agent's end: gives the estate to whoever asks for it, and hears when it is taken."""

    def __init__(
        self,
        state: Path,
        give: Callable[[], Estate],
        retire: Callable[[], Awaitable[None]],
        *,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._path = handover_socket(state)
        self._give = give
        self._retire = retire
        self._timeout = timeout
        self._heir: socket.socket | None = None
        self.frozen = False
        """Whether somebody else may be about to write to the disk, so that we must not."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[socket.socket]:
        """The socket for those that take over, there for this user alone; the old one's is replaced."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.setblocking(False)
            identity = bound_in_place(listener, self._path)
            listener.listen(1)
            try:
                yield listener
            finally:
                remove_own(self._path, identity)

    async def serve(self, listener: socket.socket) -> None:
        """Wait for one that takes over, one after the other if they give up."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors, most likely: look again when some may be free
                log.warning("not handed over", reason=str(error))
                await asyncio.sleep(1.0)
                continue
            with ExitStack() as unless_taken:
                unless_taken.enter_context(connection)
                connection.setblocking(False)
                try:
                    async with asyncio.timeout(self._timeout):
                        self.frozen = await self._hand_over(connection)
                except (OSError, msgspec.DecodeError, HandoverFailed) as error:  # also a timeout
                    log.warning("not handed over", reason=str(error) or "it took too long")
                    self.frozen = False
                if self.frozen:
                    self._heir = connection
                    unless_taken.pop_all()
                    log.info("handed over")
                    await self._retire()
                    await asyncio.Event().wait()  # until everything ends

    def close(self) -> None:
        """Tell the one that has taken over, if there is one, that we hold nothing any more.

        It may need any address that this agent has listened on, so this comes after everything else.
        """
        if self._heir is not None:
            self._heir.close()

    async def _hand_over(self, connection: socket.socket) -> bool:
        loop = asyncio.get_running_loop()
        asked_for = msgspec.json.decode(await _line(connection), type=_Request)
        if asked_for.protocol != PROTOCOL:
            raise HandoverFailed(f"it speaks protocol {asked_for.protocol}, and this one {PROTOCOL}")
        self.frozen = True
        estate = self._give()
        view = last_view.encode(estate.last)
        addresses = tuple(bound.address for bound in estate.dns)
        header = _Header(PROTOCOL, addresses, len(view), estate.specs, estate.reports)
        files = array.array("i", [estate.lock])
        for bound in estate.dns:
            files.extend((bound.udp.fileno(), bound.tcp.fileno()))
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, files)
        line = msgspec.json.encode(header) + b"\n"
        sent = connection.sendmsg([line], [rights])
        await loop.sock_sendall(connection, line[sent:] + view)
        return await _line(connection) + b"\n" == _TAKEN


async def _line(connection: socket.socket) -> bytes:
    """One line, or as much of it as came before the end; more than anybody has to say is an error."""
    loop = asyncio.get_running_loop()
    content = b""
    while not content.endswith(b"\n") and (more := await loop.sock_recv(connection, 1024)):
        content += more
        if len(content) > _LONGEST_WORD:
            raise HandoverFailed("it says too much")
    return content.rstrip(b"\n")
