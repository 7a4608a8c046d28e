"""Records as people read them: the wire's bytes back into names, addresses and numbers.

Reads what this server writes, where the one pointer is the owner's, to the question.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from federation.dns.message import Answer, RecordType, labels

_FIXED = 10


class Record(NamedTuple):
    """One record; `data` is written as in a zone file."""

    name: str
    type: str
    ttl: int
    data: str


def text_name(name: bytes) -> str:
    """Undo `wire_name`, without the final dot; what is not printable ASCII is escaped as in a zone file."""
    starts = labels(name) or [0]
    return ".".join(_escaped(name[at + 1 : at + 1 + name[at]], b'."\\') for at in starts[:-1])


def _escaped(text: bytes, special: bytes) -> str:
    return "".join(chr(c) if 0x20 <= c < 0x7F and c not in special else f"\\{c:03d}" for c in text)


def answers(answer: Answer, question: str) -> Iterator[Record]:
    """Read the answer section of *answer* to a question for the name *question*."""
    wire, at = answer.records, 0
    for _ in range(answer.answers):
        owned_by_question = wire[at] >= 0xC0
        end = at + 2 if owned_by_question else wire.index(0, at) + 1
        owner = question if owned_by_question else text_name(wire[at:end])
        kind, ttl = int.from_bytes(wire[end : end + 2]), int.from_bytes(wire[end + 4 : end + 8])
        at = end + _FIXED + int.from_bytes(wire[end + 8 : end + _FIXED])
        yield Record(owner, RecordType(kind).name, ttl, _data(RecordType(kind), wire[end + _FIXED : at]))


def _data(kind: RecordType, rdata: bytes) -> str:
    if kind in (RecordType.A, RecordType.AAAA):
        return str(ip_address(rdata))
    if kind in (RecordType.PTR, RecordType.NS):
        return f"{text_name(rdata)}."
    if kind is RecordType.SRV:
        numbers = (int.from_bytes(rdata[at : at + 2]) for at in (0, 2, 4))
        return f"{' '.join(map(str, numbers))} {text_name(rdata[6:])}."
    if kind is RecordType.TXT:
        return '"' + _escaped(rdata[1:], b'"\\') + '"'
    return _soa(rdata)


def _soa(rdata: bytes) -> str:
    """Write a start of authority: two names and five numbers."""
    second = rdata.index(0) + 1
    numbers = (int.from_bytes(rdata[at : at + 4]) for at in range(len(rdata) - 20, len(rdata), 4))
    names = (rdata[:second], rdata[second:-20])
    return " ".join([*(f"{text_name(name)}." for name in names), *map(str, numbers)])
