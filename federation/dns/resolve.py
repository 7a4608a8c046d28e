"""What DNS answers to a name, and why: for people who ask `fedgate resolve`.

The answer is taken from a `Zone` as a client's would be, so that what is explained is what is served.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from clusters.errors import ClusterError, InvalidValue
from clusters.model import ClusterView, Import
from clusters.names import CLUSTERSET_DOMAIN, ClusterName, ServiceName
from clusters.services import TrafficPolicy
from federation.dns.message import UDP_LIMIT, Query, Rcode, RecordType, question_key, wire_name
from federation.dns.presentation import Record, answers
from federation.dns.zone import Zone

_SUFFIX = f".svc.{CLUSTERSET_DOMAIN}"
_REVERSE = ".arpa"
_ASKABLE = (
    RecordType.A,
    RecordType.AAAA,
    RecordType.SRV,
    RecordType.TXT,
    RecordType.PTR,
    RecordType.SOA,
    RecordType.NS,
    RecordType.ANY,
)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What *asked_in*'s name server says to a name. `rcode` is `FORWARDED` when others are asked."""

    name: str
    asked_in: ClusterName
    rcode: str
    answers: tuple[Record, ...]
    source: str
    why: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """The form in which the admin API gives it."""
        return {
            "name": self.name,
            "from": self.asked_in,
            "rcode": self.rcode,
            "answers": [answer._asdict() for answer in self.answers],
            "source": self.source,
            "why": list(self.why),
        }


def resolve(
    view: ClusterView, name: str, kind: str | None = None, upstreams: Sequence[str] = ()
) -> Resolution:
    """Answer *name* as the agent of the view's home does; for A and AAAA unless *kind* says otherwise."""
    name = name.removesuffix(".")
    try:
        wire = wire_name(name)
    except ValueError as error:
        raise InvalidValue("name", name, "not a DNS name: want labels of 1-63 ASCII characters") from error
    zone, found, rcode = Zone(_near(view, name)), list[Record](), "REFUSED"
    for each in _kinds(kind, name):
        answer = zone.answer(Query(b"\0\0", 0, b"", question_key(wire, each), UDP_LIMIT, b""))
        if answer is None:
            return _foreign(view, name, upstreams)
        rcode = answer.rcode.name
        found += answers(answer, name)
    exists = rcode != Rcode.NXDOMAIN.name
    why = tuple(_reasons(view, name, found, exists=exists))
    return Resolution(name, view.home, rcode, tuple(found), "the clusterset", why)


def _kinds(kind: str | None, name: str) -> tuple[RecordType, ...]:
    """The record types to ask for; a name says what it is for when nobody else does."""
    if kind is None:
        if name.startswith("_"):
            return (RecordType.SRV,)
        if name.endswith(_REVERSE):
            return (RecordType.PTR,)
        return (RecordType.TXT,) if name.startswith("dns-version.") else (RecordType.A, RecordType.AAAA)
    chosen = RecordType.__members__.get(kind.upper())
    if chosen not in _ASKABLE:
        raise InvalidValue("record type", kind, f"want {', '.join(each.name for each in _ASKABLE)}")
    return (chosen,)


def _near(view: ClusterView, name: str) -> ClusterView:
    """Leave out the namespaces that *name* cannot be about: a zone of everything takes a while to make."""
    namespace = name.lower().removesuffix(_SUFFIX).rpartition(".")[2]
    if not name.lower().endswith(_SUFFIX):
        return view
    return replace(view, imports={s: i for s, i in view.imports.items() if s.namespace == namespace})


def _foreign(view: ClusterView, name: str, upstreams: Sequence[str]) -> Resolution:
    why = [f"only names below {CLUSTERSET_DOMAIN} are answered from memory"]
    if service := next((s for s in view.imports if f"{s.name}.{s.namespace}" == name), None):
        why.insert(0, f"the service {service} is called {service.dns_name}")
    if upstreams:
        why.append(f"the others are forwarded to {', '.join(upstreams)}, the first that answers")
        return Resolution(name, view.home, "FORWARDED", (), upstreams[0], tuple(why))
    why.append("no name server is configured for the others; `fedgate agent --dns-forward ADDRESS` sets one")
    return Resolution(name, view.home, "REFUSED", (), "", tuple(why))


def _service(name: str) -> ServiceName | None:
    """The service that *name* is about, when its shape says so."""
    labels = name.lower().removesuffix(_SUFFIX).split(".")
    if not name.lower().endswith(_SUFFIX) or len(labels) < 2:
        return None
    try:
        return ServiceName(labels[-1], labels[-2])
    except ClusterError:
        return None


def _reasons(view: ClusterView, name: str, found: Sequence[Record], *, exists: bool) -> Iterator[str]:
    pointed_at = [record.data.removesuffix(".") for record in found if record.type == RecordType.PTR.name]
    service = _service(pointed_at[0] if pointed_at else name)
    imported = view.imports.get(service) if service else None
    if service and not imported:
        yield from _why_nothing(view, service)
    elif imported and not exists:
        yield f"{imported.service} is there, but below it are only _PORT._PROTOCOL for its named ports"
    elif imported:
        yield from _why_this(view, imported)
    elif not exists and name.lower().endswith(_REVERSE):
        yield "the address is in a VIP range, and no service has it"
    elif not exists:
        yield f"services are called SERVICE.NAMESPACE{_SUFFIX}"
    if exists and not found:
        yield "the name exists and has no record of the type that was asked for"


def _why_this(view: ClusterView, imported: Import) -> Iterator[str]:
    offers = [f"{each.cluster} ({each.ready_endpoints} ready)" for each in imported.offerings]
    yield f"{imported.service} is exported by {', '.join(offers) or 'no cluster now, and keeps its place'}"
    if imported.policy is TrafficPolicy.WEIGHTED:
        shares = ", ".join(f"{each.cluster} {each.weight}" for each in imported.offerings)
        yield f"calls are shared out by weight: {shares}"
    for block in view.vip_ranges:
        if imported.index < block.size - 1:
            yield f"{block.address(imported.index)} is its address in {block.cidr}, at place {imported.index}"
        else:
            yield f"{block.cidr} is too short for place {imported.index}, so it has no address there"
    if imported.conflict:
        yield f"its exporters disagree: {imported.conflict}"


def _why_nothing(view: ClusterView, service: ServiceName) -> Iterator[str]:
    yield f"no cluster exports {service}"
    known = {str(each): each for each in view.imports}
    if close := difflib.get_close_matches(str(service), known, n=1):
        yield f"did you mean {known[close[0]].dns_name}?"
