"""The name server: questions in, prepared answers out, over UDP and TCP.

UDP is read in a drain loop from the event loop's reader callback, which is several times cheaper than a
protocol object for each datagram; only what has to be forwarded becomes a task.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from federation.dns.forward import Forwarder
from federation.dns.message import (
    TCP_LIMIT,
    Answer,
    Query,
    Rcode,
    Unanswerable,
    parse_query,
    render,
    render_refusal,
    shorten,
)
from federation.dns.sockets import Ancillary, Bound, Sender, bind, receive, send
from federation.dns.zone import REFUSED, Zone
from federation.log import Log

log = Log(__name__)

MAX_CONNECTIONS = 256
IDLE_SECONDS = 10.0
_DRAIN = 64
_SERVFAIL = Answer.of(Rcode.SERVFAIL)


class DnsServer:
    """Answers from *zone*; other names go to *forwarder*, and without one are refused."""

    def __init__(self, bound: Sequence[Bound], zone: Zone, forwarder: Forwarder | None) -> None:
        self.zone = zone
        self.tally: Counter[str] = Counter()
        """How many questions were `answered`, `forwarded`, `refused`, `failed` and `dropped` so far."""
        self._bound = tuple(bound)
        self._forwarder = forwarder
        self._connections = 0
        self._retiring = asyncio.Event()
        self._ended = asyncio.Event()

    @classmethod
    def bind(
        cls,
        listen: Iterable[str],
        zone: Zone,
        forwarder: Forwarder | None = None,
        inherited: Iterable[Bound] = (),
    ) -> "DnsServer":
        """Take every address in *listen*, or none: `CannotListen` says which cannot be had, and why.

        What was *inherited* from another process is not bound again; what of it is not in *listen* is closed.
        """
        spare, bound = list(inherited), list[Bound]()
        try:
            for address in listen:
                given = next((each for each in spare if each.is_at(address)), None)
                if given:
                    spare.remove(given)
                bound.append(given or bind(address))
        except BaseException:
            for each in bound:
                each.close()
            raise
        finally:
            for each in spare:
                each.close()
        zone.served_at(each.host for each in bound if each.is_found_by_name)
        return cls(bound, zone, forwarder)

    @property
    def bound(self) -> tuple[Bound, ...]:
        """The sockets, for another process to go on with."""
        return self._bound

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is listened on, `ADDRESS:PORT`, with the ports that the kernel chose."""
        return tuple(each.address for each in self._bound)

    async def run(self) -> None:
        """Serve until cancelled, or until retired."""
        try:
            async with asyncio.TaskGroup() as group:
                accepting = [group.create_task(self._accept(bound, group)) for bound in self._bound]
                await self._read(group)
                for task in accepting:
                    task.cancel()
        finally:
            self._ended.set()
            for bound in self._bound:
                bound.close()

    async def retire(self, grace: float) -> None:
        """Leave what comes from now on to others on the same sockets; what was begun has *grace* seconds."""
        self._retiring.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._ended.wait()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        """Have datagrams answered as they come, and no more once the group ends."""
        loop = asyncio.get_running_loop()
        try:
            for bound in self._bound:
                loop.add_reader(bound.udp.fileno(), self._drain, bound, group)
            log.info("dns serving", addresses=", ".join(self.addresses))
            await self._retiring.wait()
        finally:
            for bound in self._bound:
                loop.remove_reader(bound.udp.fileno())

    def respond(self, packet: bytes, limit: int | None = None) -> bytes | Query | None:
        """The response to *packet*; nothing for what deserves none; the query when others have to be asked.

        *limit* is TCP's; over UDP the query says how much may come back.
        """
        try:
            query = parse_query(packet)
        except Unanswerable as error:
            return None if error.rcode is None else render_refusal(packet, error.rcode, error.question)
        answer = self.zone.answer(query)
        if answer is None:
            if self._forwarder:
                return query
            self.tally["refused"] += 1
            return self._render(query, REFUSED, limit, ours=False)
        self.tally["answered"] += 1
        return self._render(query, answer, limit, ours=answer is not REFUSED)

    def _render(self, query: Query, answer: Answer, limit: int | None, *, ours: bool) -> bytes:
        recursion = self._forwarder is not None
        return render(query, answer, limit or query.limit, authoritative=ours, recursion=recursion)

    async def _forward(self, packet: bytes, query: Query, limit: int | None = None) -> bytes:
        """Ask the other name servers; a client is told when none of them answers."""
        answer = await self._forwarder.ask(packet, query) if self._forwarder else None
        if answer is None:
            self.tally["failed"] += 1
            return self._render(query, _SERVFAIL, limit, ours=False)
        self.tally["forwarded"] += 1
        return answer if len(answer) <= (limit or query.limit) else shorten(answer, query)

    # --- UDP ---

    def _drain(self, bound: Bound, group: asyncio.TaskGroup) -> None:
        """Answer what has arrived, but not for so long that others wait."""
        for _ in range(_DRAIN):
            try:
                packet, sender, ancillary = receive(bound)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("dns datagram lost", address=bound.address, reason=str(error))
                return
            response = self.respond(packet)
            if isinstance(response, Query):
                group.create_task(self._forward_datagram(bound, packet, response, sender, ancillary))
            elif response is None:
                self.tally["dropped"] += 1
            else:
                send(bound, response, sender, ancillary)

    async def _forward_datagram(
        self, bound: Bound, packet: bytes, query: Query, sender: Sender, ancillary: Ancillary
    ) -> None:
        send(bound, await self._forward(packet, query), sender, ancillary)

    # --- TCP ---

    async def _accept(self, bound: Bound, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(bound.tcp)
            except OSError as error:  # out of descriptors, most likely: look again when some may be free
                log.warning("dns connection lost", address=bound.address, reason=str(error))
                await asyncio.sleep(0.1)
                continue
            if self._connections >= MAX_CONNECTIONS:
                client.close()
                continue
            client.setblocking(False)
            self._connections += 1
            group.create_task(self._converse(client))

    async def _converse(self, client: socket.socket) -> None:
        """Answer one connection's questions in turn, until it ends or says nothing for a while."""
        try:
            with client, suppress(OSError, EOFError):  # among the first is TimeoutError
                while True:
                    async with asyncio.timeout(IDLE_SECONDS):
                        packet = await _receive_exactly(
                            client, int.from_bytes(await _receive_exactly(client, 2))
                        )
                    if (response := await self._respond_whole(packet)) is None:
                        self.tally["dropped"] += 1
                        return
                    async with asyncio.timeout(IDLE_SECONDS):
                        await asyncio.get_running_loop().sock_sendall(
                            client, len(response).to_bytes(2) + response
                        )
        finally:
            self._connections -= 1

    async def _respond_whole(self, packet: bytes) -> bytes | None:
        response = self.respond(packet, TCP_LIMIT)
        return await self._forward(packet, response, TCP_LIMIT) if isinstance(response, Query) else response


async def _receive_exactly(client: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts = bytearray()
    while len(parts) < size:
        part = await loop.sock_recv(client, size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
