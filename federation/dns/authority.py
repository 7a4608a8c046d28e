"""What the start of a zone says: its SOA and NS records, and what they make of names without an answer.

Beside the clusterset's own zone there is one for each block of VIPs, cut where names can be cut (RFC 1035
section 3.5, RFC 3596), so that a VIP that is nobody's is said not to exist and is asked of no one else.
"""

from functools import lru_cache
from ipaddress import ip_network
from typing import Final, NamedTuple

from clusters.model import VipRange
from clusters.names import CLUSTERSET_DOMAIN
from federation.dns.message import Answer, Rcode, RecordType, question_key, record, reverse_name, wire_name

TTL: Final = 5

NAME_SERVER: Final = wire_name(f"ns.dns.{CLUSTERSET_DOMAIN}")
_MAILBOX: Final = wire_name(f"hostmaster.{CLUSTERSET_DOMAIN}")


class Authority(NamedTuple):
    """The answers of one zone to names of its own that have no answer prepared."""

    no_name: Answer
    no_data: Answer


def authority(apex: bytes) -> Authority:
    """What the zone at *apex* says of what is not there, for resolvers to remember (RFC 2308)."""
    soa = record(RecordType.SOA, TTL, _soa(), owner=apex)
    return Authority(Answer.of(Rcode.NXDOMAIN, authority=[soa]), Answer.of(authority=[soa]))


def start_of(apex: bytes) -> dict[bytes, Answer]:
    """The answers that a zone has because it is one, by question."""
    made = {RecordType.SOA: _soa(), RecordType.NS: NAME_SERVER}
    return {
        question_key(apex, kind): Answer.of(answers=[record(kind, TTL, rdata)])
        for kind, rdata in made.items()
    }


def _soa() -> bytes:
    """The start of authority. Nobody transfers this zone, so its serial stands still."""
    serial, refresh, retry, expire = 1, 7200, 1800, 86400
    numbers = (serial, refresh, retry, expire, TTL)
    return NAME_SERVER + _MAILBOX + b"".join(number.to_bytes(4) for number in numbers)


@lru_cache(maxsize=64)
def reverse_apexes(block: VipRange) -> frozenset[bytes]:
    """Where the zones of *block* start: the largest whole octets (IPv6: nibbles) that it is made of."""
    network = ip_network(block.cidr)
    step = 8 if network.version == 4 else 4
    whole = -(-network.prefixlen // step) * step
    left_out = (network.max_prefixlen - whole) // step
    parts = network.subnets(new_prefix=whole)
    return frozenset(_above(reverse_name(part.network_address), left_out) for part in parts)


def _above(name: bytes, levels: int) -> bytes:
    for _ in range(levels):
        name = parent(name)
    return name


def parent(name: bytes) -> bytes:
    """The wire name *name* without its first label."""
    return name[1 + name[0] :]
