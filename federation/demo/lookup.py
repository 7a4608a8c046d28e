"""What a name resolves to: as the machine's own resolver says, or a name server that is asked directly.

    python -m federation.demo.lookup catalog.shop.svc.clusterset.local [--server 127.77.1.1:10053]

It prints one line of JSON, a `Resolved`. A name that does not exist has no addresses.
"""

import argparse
import asyncio
import json
import secrets
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Final

from federation.settings import host_port

_A, _AAAA = 1, 28
_RECURSION_DESIRED = 0x0100
_TIMEOUT = 2.0
_KINDS: Final = {4: _A, 6: _AAAA}


class NoAnswer(LookupError):
    """A name server said nothing, or nothing of use."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The addresses of a name, IPv4 first, and how long it took to learn them."""

    addresses: tuple[str, ...]
    ms: float

    @classmethod
    def parse(cls, text: str) -> "Resolved":
        """Undo what `main` printed."""
        said = json.loads(text)
        return cls(tuple(said["addresses"]), said["ms"])


def system_addresses(name: str) -> set[str]:
    """Ask the C library, as every program does."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return set()
    return {str(address[0]) for *_, address in found}


def server_addresses(name: str, server: str) -> set[str]:
    """Ask the name server at *server* for A and AAAA."""
    return {address for kind in (_A, _AAAA) for address in _ask(name, kind, host_port(server, 53))}


async def ask(name: str, family: int, server: tuple[str, int], *, by_tcp: bool = False) -> list[str]:
    """Ask *server* once for the addresses of *name* in one IP version; raises NoAnswer, or an OSError."""
    query = _query(name, _KINDS[family])
    try:
        async with asyncio.timeout(_TIMEOUT):
            answer = await (_exchange_by_tcp if by_tcp else _exchange_by_udp)(query, server)
    except TimeoutError as error:
        raise NoAnswer(f"{name} was not looked up in time") from error
    if answer[:2] != query[:2]:
        raise NoAnswer("an answer to another question")
    if code := answer[3] & 0x0F:
        raise NoAnswer(f"{name} was answered with code {code}")
    return _answers(answer, len(query), _KINDS[family])


def main(argv: Sequence[str] | None = None) -> int:
    """Look one name up."""
    parser = argparse.ArgumentParser(prog="python -m federation.demo.lookup", description="Look a name up.")
    parser.add_argument("name")
    parser.add_argument("--server", help="ask this name server, ADDRESS:PORT, and not the system's")
    said = parser.parse_args(argv)
    began = time.perf_counter()
    found = server_addresses(said.name, said.server) if said.server else system_addresses(said.name)
    took = (time.perf_counter() - began) * 1000
    ordered = sorted(found, key=lambda address: (ip_address(address).version, ip_address(address)))
    print(json.dumps(asdict(Resolved(tuple(ordered), took))))
    return 0


def _ask(name: str, kind: int, server: tuple[str, int]) -> list[str]:
    """One question over UDP; no answer in time is no address."""
    query = _query(name, kind)
    with socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_TIMEOUT)
        client.connect(server)
        try:
            client.send(query)
            answer = client.recv(4096)
        except OSError:
            return []
    if answer[:2] != query[:2]:
        return []
    return _answers(answer, len(query), kind)


def _query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    header = struct.pack("!6H", secrets.randbelow(1 << 16), _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack("!HH", kind, 1)


async def _exchange_by_udp(query: bytes, server: tuple[str, int]) -> bytes:
    """From a port of its own, as resolvers do."""
    loop = asyncio.get_running_loop()
    transport, first = await loop.create_datagram_endpoint(_First, remote_addr=server)
    try:
        transport.sendto(query)
        return await first.received
    finally:
        transport.close()


async def _exchange_by_tcp(query: bytes, server: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(query).to_bytes(2) + query)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    finally:
        writer.close()


class _First(asyncio.DatagramProtocol):
    """The first datagram, or what went wrong instead."""

    def __init__(self) -> None:
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.received.done():
            self.received.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(exc)


def _answers(message: bytes, offset: int, kind: int) -> list[str]:
    """The addresses among the answers of *message*, which begin at *offset*."""
    found = []
    for _ in range(struct.unpack_from("!H", message, 6)[0]):
        while message[offset] and message[offset] < 0xC0:
            offset += 1 + message[offset]
        offset += 2 if message[offset] >= 0xC0 else 1
        its_kind, length = struct.unpack_from("!H6xH", message, offset)
        data = message[offset + 10 : offset + 10 + length]
        offset += 10 + length
        if its_kind == kind:
            found.append(str(ip_address(data)))
    return found


if __name__ == "__main__":
    sys.exit(main())
