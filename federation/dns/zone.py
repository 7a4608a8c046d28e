"""What the names of the clusterset answer: every question that has an answer, with that answer ready to send.

The records of a service are a function of the view and that service alone (`records_of`), so a `Zone` that is
updated service by service equals one that was built anew.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from clusters.model import ClusterView, Import, VipRange, vips_in
from clusters.names import CLUSTERSET_DOMAIN, ServiceName
from federation.dns.authority import NAME_SERVER, TTL, authority, parent, reverse_apexes, start_of
from federation.dns.message import (
    CLASS_IN,
    HEADER,
    MAX_LABEL,
    Answer,
    Query,
    Rcode,
    RecordType,
    address_record,
    below,
    labels,
    pointer,
    question_key,
    record,
    reverse_name,
    wire_name,
)

VERSION_TTL = 28800
SCHEMA_VERSION = "1.0.0"

_APEX = wire_name(CLUSTERSET_DOMAIN)
_VERSION = wire_name(f"dns-version.{CLUSTERSET_DOMAIN}")
_SERVICES = wire_name(f"svc.{CLUSTERSET_DOMAIN}")

REFUSED = Answer.of(Rcode.REFUSED)

_FAMILIES = ((4, RecordType.A), (6, RecordType.AAAA))
_VERSION_TXT = bytes((len(SCHEMA_VERSION),)) + SCHEMA_VERSION.encode()
_STANDING = {
    **start_of(_APEX),
    question_key(_VERSION, RecordType.TXT): Answer.of(
        answers=[record(RecordType.TXT, VERSION_TTL, _VERSION_TXT)]
    ),
}
_STANDING_NAMES = (_APEX, _VERSION, _SERVICES, NAME_SERVER, parent(NAME_SERVER))

Address = IPv4Address | IPv6Address


class Records(NamedTuple):
    """A part of the zone: its answers by question, and the names that exist because of it."""

    answers: dict[bytes, Answer]
    names: tuple[bytes, ...]


def records_of(imported: Import, ranges: Iterable[VipRange], led: Collection[VipRange]) -> Records:
    """Everything that DNS says about *imported*, which has an address in each of *ranges*.

    Only the addresses in *led* are told to those who want to call; all of them point back.
    """
    name = wire_name(imported.service.dns_name)
    names = [name, parent(name)]
    at = [(block, ip_address(vip)) for block in ranges for vip in vips_in((block,), imported)]
    told = [address for block, address in at if block in led]
    answers = _addresses(name, told)
    points = Answer.of(answers=[record(RecordType.PTR, TTL, name)])
    for block, address in at:
        owner = reverse_name(address)
        answers[question_key(owner, RecordType.PTR)] = points
        names += _up_to(owner, reverse_apexes(block))
    for owner, location in _locations(imported, name):
        service_in_question = pointer(HEADER + len(owner) - len(name))
        additional = [address_record(TTL, address, owner=service_in_question) for address in told]
        answers[question_key(owner, RecordType.SRV)] = Answer.of(answers=[location], additional=additional)
        names += [owner, parent(owner)]
    return Records(answers, tuple(dict.fromkeys(names)))


def _addresses(name: bytes, addresses: Iterable[Address]) -> dict[bytes, Answer]:
    answers = {}
    for version, kind in _FAMILIES:
        if family := [address_record(TTL, address) for address in addresses if address.version == version]:
            answers[question_key(name, kind)] = Answer.of(answers=family)
    return answers


def _up_to(name: bytes, apexes: frozenset[bytes]) -> Iterator[bytes]:
    """*name*, and those above it that exist because of it, as far as the zone goes."""
    while name not in apexes:
        yield name
        name = parent(name)


def _reverse_of(block: VipRange) -> Records:
    """What exists because the addresses of *block* are ours to name."""
    apexes = reverse_apexes(block)
    return Records({key: answer for apex in apexes for key, answer in start_of(apex).items()}, tuple(apexes))


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
        self._names: Counter[bytes] = Counter(_STANDING_NAMES)
        self._authorities = {_APEX: authority(_APEX)}
        self._held: dict[ServiceName | VipRange, Records] = {}
        self._ranges: tuple[VipRange, ...] = ()
        self._led: tuple[VipRange, ...] = ()
        if view is not None:
            self.update(view, view.imports)

    def update(
        self, view: ClusterView, changed: Iterable[ServiceName], led: tuple[VipRange, ...] | None = None
    ) -> None:
        """Derive the *changed* services anew from *view*; all of them when the VIP ranges are others.

        *led* are the ranges whose addresses are told to those who want to call, all of the view's by default.
        A view with a service that cannot be served raises and changes nothing.
        """
        led = view.vip_ranges if led is None else led
        if (view.vip_ranges, led) != (self._ranges, self._led):
            changed = {*(each for each in self._held if isinstance(each, ServiceName)), *view.imports}
        anew: dict[ServiceName | VipRange, Records | None] = {}
        for service in changed:
            imported = view.imports.get(service)
            anew[service] = records_of(imported, view.vip_ranges, led) if imported else None
        if view.vip_ranges != self._ranges:
            anew |= dict.fromkeys(self._ranges)
            anew |= {block: _reverse_of(block) for block in view.vip_ranges}
            apexes = (apex for block in view.vip_ranges for apex in reverse_apexes(block))
            self._authorities = {apex: authority(apex) for apex in (_APEX, *apexes)}
        self._ranges, self._led = view.vip_ranges, led
        self._replace(anew)

    def served_at(self, addresses: Iterable[str]) -> None:
        """Tell where the name server that the zone names is: on port 53 at *addresses*."""
        self._answers.update(_addresses(NAME_SERVER, [ip_address(address) for address in addresses]))

    def _replace(self, anew: dict[ServiceName | VipRange, Records | None]) -> None:
        # First out, then in: an address that moves from one service to another keeps its pointer.
        for part in anew:
            self._remove(part)
        for part, records in anew.items():
            if records is not None:
                self._add(part, records)

    def _remove(self, part: ServiceName | VipRange) -> None:
        if held := self._held.pop(part, None):
            for key, answer in held.answers.items():
                if self._answers.get(key) is answer:
                    del self._answers[key]
            for name in held.names:
                self._names[name] -= 1
                if not self._names[name]:
                    del self._names[name]

    def _add(self, part: ServiceName | VipRange, records: Records) -> None:
        self._held[part] = records
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
        if query.key[-2:] != CLASS_IN.to_bytes(2) or query.type in (RecordType.AXFR, RecordType.IXFR):
            return REFUSED
        zones = (self._authorities.get(query.name[at:]) for at in starts)
        ours = next((zone for zone in zones if zone), None)
        if ours is None:
            return None
        if query.name not in self._names:
            return ours.no_name
        return self._any(query.name) or ours.no_data if query.type == RecordType.ANY else ours.no_data

    def _any(self, name: bytes) -> Answer | None:
        """One kind of record that *name* has: enough of an answer to ANY (RFC 8482)."""
        kinds = (kind for kind in RecordType if kind < RecordType.OPT)
        found = (self._answers.get(question_key(name, kind)) for kind in kinds)
        return next((answer for answer in found if answer), None)
