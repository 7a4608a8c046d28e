"""A worker: a process that holds the issuing key in memory, and signs what it is sent on its standard input.

That is a socket, which carries frames both ways: four bytes of length, then MessagePack. The first frame is
the charge, each further one some work, and each is answered. It ends when the socket does, and the agent ends
it when the issuing CA is another: so a key that is not used any more is in no process.
"""

import resource
import signal
import socket
import struct
from typing import Final

import msgspec

from federation.minting.signing import Charge, Mint, Signed, Work

HEADER: Final = struct.Struct(">I")


def main() -> None:
    """Sign until nobody is there any more who asks."""
    # Who sees to our end is the agent: Ctrl-C in its terminal goes to us as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=0) as connection:
        charge = _received(connection)
        if charge is None:
            return
        mint = Mint(msgspec.msgpack.decode(charge, type=Charge))
        work_of = msgspec.msgpack.Decoder(Work).decode
        while (frame := _received(connection)) is not None:
            work = work_of(frame)
            _send(connection, mint.sign(work.asked, work.now))


def _received(connection: socket.socket) -> bytes | None:
    header = _exactly(connection, HEADER.size)
    return _exactly(connection, HEADER.unpack(header)[0]) if header is not None else None


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = connection.recv(left)
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _send(connection: socket.socket, signed: list[Signed]) -> None:
    content = msgspec.msgpack.encode(signed)
    connection.sendall(HEADER.pack(len(content)) + content)


if __name__ == "__main__":
    main()
