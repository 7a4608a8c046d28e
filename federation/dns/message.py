"""DNS on the wire: just as much of RFC 1035 and RFC 6891 as a server with prepared answers needs.

A query is taken apart into what an answer must echo and the key under which it was prepared. Owner names in
answers are a pointer to the question, so the case that the client used comes back to it for free.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

HEADER = 12
UDP_LIMIT = 1232
"""The largest UDP answer that crosses the usual networks in one piece (DNS flag day 2020)."""
UDP_MINIMUM = 512
TCP_LIMIT = 65535
MAX_LABEL = 63
MAX_NAME = 255

CLASS_IN = 1
_QUESTION_POINTER = b"\xc0\x0c"
_AT_MOST_ONE_ADDITIONAL = (b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1")


class RecordType(IntEnum):
    """The record types that are spoken of by name."""

    A = 1
    NS = 2
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    """How an answer ends; from 16 on they need EDNS."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Unanswerable(Exception):
    """A packet that is no question to a name server. `rcode` is the answer; `None`: say nothing at all.

    `question` is what the answer repeats, as far as it could be read.
    """

    def __init__(self, rcode: Rcode | None, question: bytes = b"") -> None:
        super().__init__(rcode)
        self.rcode = rcode
        self.question = question


class Query(NamedTuple):
    """A question.

    `question` is as it came, `key` the same with the name in lower case. `limit` is how much the client takes
    over UDP, and `edns` the record to end the answer with, empty for a client that does not know it.
    """

    ident: bytes
    flags: int
    question: bytes
    key: bytes
    limit: int
    edns: bytes

    @property
    def name(self) -> bytes:
        """The folded name, on the wire."""
        return self.key[:-4]

    @property
    def type(self) -> int:
        """What is asked for."""
        return int.from_bytes(self.key[-4:-2])


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of an answer that does not depend on who asks: its code and its sections.

    `counts` are those of one question and of the sections, without and with EDNS; `records` the answer
    section's, then the authority's. `whole` has what is additional behind them, which is left out where there
    is no room for it. A truncated answer has no records at all.
    """

    rcode: Rcode
    counts: tuple[bytes, bytes]
    records: bytes
    whole: bytes

    @classmethod
    def of(
        cls,
        rcode: Rcode = Rcode.NOERROR,
        answers: Iterable[bytes] = (),
        authority: Iterable[bytes] = (),
        additional: Iterable[bytes] = (),
    ) -> "Answer":
        """Put whole records together."""
        answers, authority, additional = tuple(answers), tuple(authority), tuple(additional)
        records = b"".join((*answers, *authority))
        counts = b"\0\1" + len(answers).to_bytes(2) + len(authority).to_bytes(2)
        extras = len(additional)
        return cls(
            rcode,
            (counts + extras.to_bytes(2), counts + (extras + 1).to_bytes(2)),
            records,
            records + b"".join(additional),
        )

    @property
    def answers(self) -> int:
        """How many records the answer section has."""
        return int.from_bytes(self.counts[0][2:4])

    def within(self, room: int) -> tuple["Answer", int]:
        """As much as fits in *room* bytes, and the flag of a truncated answer if something is missed."""
        if len(self.records) > room:
            return Answer(self.rcode, EMPTY.counts, b"", b""), 0x0200
        sections = self.counts[0][:6]
        return Answer(self.rcode, (sections + b"\0\0", sections + b"\0\1"), self.records, self.records), 0


EMPTY = Answer.of()


def parse_query(packet: bytes) -> Query:
    """Take a client's packet apart, or raise `Unanswerable`."""
    if len(packet) < HEADER or packet[2] & 0x80:
        raise Unanswerable(None)
    if packet[2] & 0x78:
        raise Unanswerable(Rcode.NOTIMP)
    if packet[4:HEADER] not in _AT_MOST_ONE_ADDITIONAL:
        raise Unanswerable(Rcode.FORMERR)
    # The first zero byte ends the name unless it stands inside a label; such a key meets no prepared answer,
    # and whoever wants to know more of the name calls `labels`, which does not overlook it.
    end = packet.find(0, HEADER) + 5
    if end < HEADER + 5 or end > len(packet):
        raise Unanswerable(Rcode.FORMERR)
    question = packet[HEADER:end]
    key = question[:-4].lower() + question[-4:]
    limit, edns = _edns(packet, end, question) if packet[11] else (UDP_MINIMUM, b"")
    return Query(packet[:2], packet[2] << 8 | packet[3], question, key, limit, edns)


def _edns(packet: bytes, at: int, question: bytes) -> tuple[int, bytes]:
    """Read the one additional record at *at*: the client's UDP limit, and our own record in answer."""
    if packet[at : at + 3] != b"\0\0\x29":
        return UDP_MINIMUM, b""
    if len(packet) < at + 11 or len(packet) < at + 11 + int.from_bytes(packet[at + 9 : at + 11]):
        raise Unanswerable(Rcode.FORMERR)
    if packet[at + 6]:
        raise Unanswerable(Rcode.BADVERS, question)
    limit = min(max(int.from_bytes(packet[at + 3 : at + 5]), UDP_MINIMUM), UDP_LIMIT)
    wants_dnssec = packet[at + 7] & 0x80
    return limit, _opt(wants_dnssec << 8)


def _opt(extended: int) -> bytes:
    return b"\0" + RecordType.OPT.to_bytes(2) + UDP_LIMIT.to_bytes(2) + extended.to_bytes(4) + b"\0\0"


def render(query: Query, answer: Answer, limit: int, *, authoritative: bool, recursion: bool) -> bytes:
    """Write *answer* to *query* in no more than *limit* bytes; what does not fit is left out and marked."""
    if HEADER + len(query.question) + len(answer.whole) + len(query.edns) > limit:
        answer, truncated = answer.within(limit - HEADER - len(query.question) - len(query.edns))
    else:
        truncated = 0
    # Kept from the client: "recursion desired" and "checking disabled".
    flags = 0x8000 | authoritative << 10 | truncated | query.flags & 0x0110 | recursion << 7 | answer.rcode
    return b"".join(
        (
            query.ident,
            flags.to_bytes(2),
            answer.counts[1 if query.edns else 0],
            query.question,
            answer.whole,
            query.edns,
        )
    )


def render_refusal(packet: bytes, rcode: Rcode, question: bytes) -> bytes:
    """Say *rcode* to a packet of which only *question*, perhaps empty, could be read."""
    edns = _opt((rcode >> 4) << 24) if rcode > 15 else b""
    flags = 0x8000 | (packet[2] & 0x79) << 8 | rcode & 0xF
    counts = (b"\0\1" if question else b"\0\0") + bytes(4) + (b"\0\1" if edns else b"\0\0")
    return packet[:2] + flags.to_bytes(2) + counts + question + edns


def shorten(response: bytes, query: Query) -> bytes:
    """Cut another server's *response* down to its header and question, marked as truncated."""
    flags = int.from_bytes(response[2:4]) | 0x0200
    counts = b"\0\1\0\0\0\0" + (b"\0\1" if query.edns else b"\0\0")
    return response[:2] + flags.to_bytes(2) + counts + query.question + query.edns


def labels(name: bytes) -> list[int] | None:
    """Where each label of a wire name begins, the root's last; `None` for what is no name."""
    starts = []
    at = 0
    while at < len(name) and (length := name[at]) <= MAX_LABEL:
        starts.append(at)
        at += 1 + length
        if not length:
            return starts if at == len(name) <= MAX_NAME else None
    return None


def wire_name(text: str) -> bytes:
    """Write an ASCII name, final dot or not, in lower case; `ValueError` when it cannot be one."""
    bare = text.removesuffix(".")
    parts = [part.lower().encode("ascii") for part in bare.split(".")] if bare else []
    if not all(0 < len(part) <= MAX_LABEL for part in parts):
        raise ValueError(f"{text!r} has a label of a length that DNS cannot carry")
    name = b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
    if len(name) > MAX_NAME:
        raise ValueError(f"{text!r} is longer than a DNS name can be")
    return name


_REVERSE_V4 = wire_name("in-addr.arpa")
_REVERSE_V6 = wire_name("ip6.arpa")
_NIBBLES = {digit: b"\1" + digit.encode() for digit in "0123456789abcdef"}


def below(name: bytes, *labels: str) -> bytes:
    """The wire name of *labels*, known to be good and in lower case, in front of *name*."""
    return b"".join(len(label).to_bytes(1) + label.encode("ascii") for label in labels) + name


def reverse_name(address: IPv4Address | IPv6Address) -> bytes:
    """The wire name under which an address points back to what it belongs to."""
    if address.version == 4:
        return below(_REVERSE_V4, *map(str, reversed(address.packed)))
    return b"".join(_NIBBLES[digit] for digit in reversed(address.packed.hex())) + _REVERSE_V6


def question_key(name: bytes, kind: RecordType) -> bytes:
    """The key of the question for *kind* at the folded wire *name*."""
    return name + kind.to_bytes(2) + CLASS_IN.to_bytes(2)


def record(kind: RecordType, ttl: int, rdata: bytes, owner: bytes = _QUESTION_POINTER) -> bytes:
    """Write one record, owned by the question's name unless said otherwise."""
    head = owner + kind.to_bytes(2) + CLASS_IN.to_bytes(2) + ttl.to_bytes(4)
    return head + len(rdata).to_bytes(2) + rdata


def address_record(ttl: int, address: IPv4Address | IPv6Address, owner: bytes = _QUESTION_POINTER) -> bytes:
    """Write an A or AAAA record."""
    return record(RecordType.A if address.version == 4 else RecordType.AAAA, ttl, address.packed, owner)


def pointer(offset: int) -> bytes:
    """Stand for the name at *offset* of the message."""
    return (0xC000 | offset).to_bytes(2)
