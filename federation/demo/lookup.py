"""What a name resolves to: as the machine's own resolver says, or a name server that is asked directly.

    python -m federation.demo.lookup catalog.shop.svc.clusterset.local [--server 127.77.1.1:10053]

It prints one line of JSON, a `Resolved`. A name that does not exist has no addresses.
"""

import argparse
import json
import secrets
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address

from federation.settings import host_port

_A, _AAAA = 1, 28
_RECURSION_DESIRED = 0x0100
_TIMEOUT = 2.0


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
    number = secrets.randbelow(1 << 16)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    question = labels + b"\0" + struct.pack("!HH", kind, 1)
    query = struct.pack("!6H", number, _RECURSION_DESIRED, 1, 0, 0, 0) + question
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
    return _answers(answer, 12 + len(question), kind)


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
