"""What the names of the clusterset answer: every question that has an answer, with that answer ready to send.

The records of a service are a function of the view and that service alone (`records_of`), so a `Zone` that is
updated service by service equals one that was built anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from clusters.model import CLUSTERSET_DOMAIN, ClusterView, Import, ServiceName, VipRange
from federation.dns.message import (
    CLASS_IN,
    MAX_LABEL,
    Answer,
    Query,
    Rcode,
    RecordType,
    address_record,
    below,
    labels,
    question_key,
    record,
    reverse_name,
    wire_name,
)

TTL = 5
VERSION_TTL = 28800
SCHEMA_VERSION = "1.0.0"

_APEX = wire_name(CLUSTERSET_DOMAIN)
_VERSION = wire_name(f"dns-version.{CLUSTERSET_DOMAIN}")
_SERVICES = wire_name(f"svc.{CLUSTERSET_DOMAIN}")


def _soa_rdata() -> bytes:
    """The start of authority. Nobody transfers this zone, so its serial stands still."""
    serial, refresh, retry, expire = 1, 7200, 1800, 86400
    names = wire_name(f"ns.dns.{CLUSTERSET_DOMAIN}") + wire_name(f"hostmaster.{CLUSTERSET_DOMAIN}")
    return names + b"".join(number.to_bytes(4) for number in (serial, refresh, retry, expire, TTL))


_SOA = record(RecordType.SOA, TTL, _soa_rdata(), owner=_APEX)
NO_DATA = Answer.of(authority=[_SOA])
NO_NAME = Answer.of(Rcode.NXDOMAIN, authority=[_SOA])
REFUSED = Answer.of(Rcode.REFUSED)

_VERSION_TXT = bytes((len(SCHEMA_VERSION),)) + SCHEMA_VERSION.encode()
_STANDING = {
    question_key(_APEX, RecordType.SOA): Answer.of(answers=[record(RecordType.SOA, TTL, _soa_rdata())]),
    question_key(_VERSION, RecordType.TXT): Answer.of(
        answers=[record(RecordType.TXT, VERSION_TTL, _VERSION_TXT)]
    ),
}


class Records(NamedTuple):
    """One service's part of the zone: its answers by question, and the names that exist because of it."""

    answers: dict[bytes, Answer]
    names: tuple[bytes, ...]


def records_of(view: ClusterView, imported: Import) -> Records:
    """Everything that DNS says about *imported* as seen from the view's home."""
    name = wire_name(imported.service.dns_name)
    addresses = [ip_address(vip) for vip in view.vips(imported)]
    answers: dict[bytes, Answer] = {}
    for version, kind in ((4, RecordType.A), (6, RecordType.AAAA)):
        if family := [address_record(TTL, address) for address in addresses if address.version == version]:
            answers[question_key(name, kind)] = Answer.of(answers=family)
    pointer = Answer.of(answers=[record(RecordType.PTR, TTL, name)])
    for address in addresses:
        answers[question_key(reverse_name(address), RecordType.PTR)] = pointer
    names = [name, _parent(name)]
    for owner, location in _locations(imported, name):
        answers[question_key(owner, RecordType.SRV)] = Answer.of(answers=[location])
        names += [owner, _parent(owner)]
    return Records(answers, tuple(dict.fromkeys(names)))


def _parent(name: bytes) -> bytes:
    return name[1 + name[0] :]


def _locations(imported: Import, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield owner and SRV record of each named port; what we do not carry is listed all the same.

    A port name may be as long as a label, which leaves no room for the underscore: that one has no record.
    """
    for port in imported.ports:
        if 0 < len(port.name) < MAX_LABEL:
            priority, weight = 0, 100
            numbers = b"".join(number.to_bytes(2) for number in (priority, weight, port.number))
            owner = below(name, f"_{port.name}", f"_{port.protocol.lower()}")
            yield owner, record(RecordType.SRV, TTL, numbers + name)


class Zone:
    """The names of the clusterset as one cluster sees them. For one event loop."""

    def __init__(self, view: ClusterView | None = None) -> None:
        self._answers = dict(_STANDING)
        self._names: Counter[bytes] = Counter((_APEX, _VERSION, _SERVICES))
        self._held: dict[ServiceName, Records] = {}
        self._ranges: tuple[VipRange, ...] = ()
        if view is not None:
            self.update(view, view.imports)

    def update(self, view: ClusterView, changed: Iterable[ServiceName]) -> None:
        """Derive the *changed* services anew from *view*; all of them when the VIP ranges are others.

        A view with a service that cannot be served raises and changes nothing.
        """
        if view.vip_ranges != self._ranges:
            changed = {*self._held, *view.imports}
        anew = {service: view.imports.get(service) for service in changed}
        derived = {service: records_of(view, imported) for service, imported in anew.items() if imported}
        self._ranges = view.vip_ranges
        # First out, then in: an address that moves from one service to another keeps its pointer.
        for service in anew:
            self._remove(service)
        for service, records in derived.items():
            self._add(service, records)

    def _remove(self, service: ServiceName) -> None:
        if held := self._held.pop(service, None):
            for key, answer in held.answers.items():
                if self._answers.get(key) is answer:
                    del self._answers[key]
            for name in held.names:
                self._names[name] -= 1
                if not self._names[name]:
                    del self._names[name]

    def _add(self, service: ServiceName, records: Records) -> None:
        self._held[service] = records
        self._answers.update(records.answers)
        self._names.update(records.names)

    def __eq__(self, other: object) -> bool:
        """Whether *other* answers every question alike."""
        if not isinstance(other, Zone):
            return NotImplemented
        return self._answers == other._answers and self._names == other._names

    def __len__(self) -> int:
        """How many questions have an answer."""
        return len(self._answers)

    def answer(self, query: Query) -> Answer | None:
        """What the zone says to *query*; `None` when the name is none of its own."""
        if found := self._answers.get(query.key):
            return found
        starts = labels(query.name)
        if starts is None:
            return Answer.of(Rcode.FORMERR)
        if len(starts) < 3 or query.name[starts[-3] :] != _APEX:
            return None
        if query.key[-2:] != CLASS_IN.to_bytes(2) or query.type in (RecordType.AXFR, RecordType.IXFR):
            return REFUSED
        if query.name not in self._names:
            return NO_NAME
        return self._any(query.name) if query.type == RecordType.ANY else NO_DATA

    def _any(self, name: bytes) -> Answer:
        """One kind of record that *name* has: enough of an answer to ANY (RFC 8482)."""
        kinds = (RecordType.A, RecordType.AAAA, RecordType.SRV, RecordType.TXT, RecordType.SOA)
        found = (self._answers.get(question_key(name, kind)) for kind in kinds)
        return next((answer for answer in found if answer), NO_DATA)
