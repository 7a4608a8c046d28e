"""A name server of the system tests: every name has the one IPv4 address that a file says at that moment.

    python name_server.py ADDRESS FILE

It listens on port 53 over UDP, and prints `ready` when it does.
"""

import socket
import sys
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.rrset


def answer(wire: bytes, file: Path) -> bytes:
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query, recursion_available=True)
    (question,) = query.question
    if question.rdtype == dns.rdatatype.A:
        address = file.read_text().strip()
        response.answer.append(dns.rrset.from_text(question.name, 1, "IN", "A", address))
    return response.to_wire()


def main(address: str, file: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind((address, 53))
        print("ready", flush=True)
        while True:
            query, peer = wire.recvfrom(4096)
            wire.sendto(answer(query, file), peer)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
