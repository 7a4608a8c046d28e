"""What an agent knows: the one place where its view changes, by its source and by the hub.

What the hub says is checked here before it counts: a record that is not what it claims to be is
rejected, and an issuing CA that does not lead to our root, or could sign for others, is not believed. A new
root is taken only from those whom we trust already.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from clusters.changes import renewed
from clusters.foreign import TrustBundle, outside
from clusters.model import ClusterView, Export, Federation, Import, Member, Offer, VipRange
from clusters.names import ClusterName, ServiceName, cluster_name
from clusters.reports import Probes
from clusters.services import LocalService
from clusters.verdict import UNSAID, Published, Verdict
from federation.errors import ChangesRejected
from federation.judging import Judging
from federation.last_view import Owners, Received
from federation.log import Log
from federation.roots import Roots
from federation.sync import records
from federation.sync.client import LinkState
from gateway.view import sources
from pki.authority import from_pem
from pki.bundle import check_issuing_ca
from pki.errors import PkiError
from pki.spiffe import trust_domain_of

log = Log(__name__)

_MOST_FORMER: Final = 10_000  # addresses that are nobody's now, and whose they were


@dataclass(frozen=True, slots=True)
class Learned:
    """A change of the view, and the services that it touches."""

    view: ClusterView
    services: frozenset[ServiceName] = frozenset()


class Knowledge:
    """The newest view, and everyone who follows it. For one event loop."""

    def __init__(
        self,
        home: ClusterName,
        received: Received,
        roots: Roots,
        vip_ranges: tuple[VipRange, ...],
        now: Callable[[], datetime],
        owners: Owners | None = None,
    ) -> None:
        self._roots = roots
        self._own_ranges = vip_ranges
        self._now = now
        self._followers: list[Callable[[Learned], None]] = []
        self.judging = Judging(home)
        self._judged = received.judged
        self._verdicts_told = False
        self.view = ClusterView(
            home,
            received.federation,
            vip_ranges or received.federation.vip_ranges,
            members={m.name: self._believed(m) for m in received.members.values()},
            imports=received.imports,
            handed_on=owners.handed_on if owners else None,
            trusts=received.trusts,
            callers=_callers(received.verdicts),
            callers_unsaid=_unsaid(received.verdicts) if received.judged else (home,),
        )
        self.verdicts = dict(received.verdicts)
        self._members = dict(received.members)
        self._imports: Mapping[ServiceName, Import] = received.imports
        self._owners = dict(owners.last) if owners else {}

    @property
    def received(self) -> Received:
        """What the hub has told, as it told it."""
        view = self.view
        return Received(
            view.federation, self._members, self._imports, view.trusts, self.verdicts, self._judged
        )

    @property
    def owners(self) -> Owners:
        """Whose the addresses were last: those that are nobody's now, too."""
        return Owners(dict(self._owners), self.view.handed_on)

    def held(self) -> Mapping[str, Mapping[str, str]]:
        """The version of every record that came from the hub, by kind and name."""
        received = self.received
        return {
            # One whose roots are not ours is told again, and then looked at.
            records.FEDERATION: _versions(
                (received.federation,) if self._roots.are(received.federation.roots) else ()
            ),
            records.MEMBER: _versions(tuple(received.members.values())),
            records.IMPORT: _versions(tuple(received.imports.values())),
            records.FOREIGN: _versions(tuple(received.trusts.values())),
            records.VERDICT: _versions(tuple(received.verdicts.values())),
        }

    def follow(self, follower: Callable[[Learned], None]) -> None:
        """Call *follower* with every change from now on."""
        self._followers.append(follower)

    def offer(self, offer: Offer) -> None:
        """Take what the source says now."""
        services, changed = renewed(self.view.offer.services, offer.services)
        handed_on = self._now() if self._passes_on(offer) else self.view.handed_on
        view = replace(self.view, offer=replace(offer, services=services), handed_on=handed_on)
        self._learn(view, frozenset(changed))

    def forget(self) -> None:
        """Know nobody and nothing but what is offered here: this cluster has left."""
        self._members, self._imports, self.verdicts = {}, {}, {}
        nothing = replace(self.view, members={}, imports={}, trusts={}, callers={}, callers_unsaid=None)
        self._learn(nothing, frozenset(self.view.imports))

    async def accept(self, kind: str, changes: Mapping[str, bytes | None]) -> None:
        """Take what the hub says, all of it or nothing; raises ChangesRejected or UnreadableRecord."""
        match kind:
            case records.IMPORT:
                self._accept_imports(changes)
            case records.MEMBER:
                self._accept_members(changes)
            case records.FEDERATION:
                await self._accept_federation(changes)
            case records.FOREIGN:
                self._accept_trusts(changes)
            case records.VERDICT:
                self._accept_verdicts(changes)

    def _accept_imports(self, changes: Mapping[str, bytes | None]) -> None:
        told, imports = dict(self._imports), dict(self.view.imports)
        for name, body in changes.items():
            if body is None:
                told.pop(ServiceName.parse(name), None)
                imports.pop(ServiceName.parse(name), None)
            else:
                imported = records.decode(Import, name, body)
                told[imported.service] = imported
                imports[imported.service] = self.judging.judged(imported)
        self._imports = told
        services = frozenset(ServiceName.parse(name) for name in changes)
        self._learn(replace(self.view, imports=imports), services)

    def _accept_members(self, changes: Mapping[str, bytes | None]) -> None:
        told, members = dict(self._members), dict(self.view.members)
        for name, body in changes.items():
            if body is None:
                told.pop(ClusterName(name), None)
                members.pop(ClusterName(name), None)
                continue
            member = records.decode(Member, name, body)
            if member.trust_domain != trust_domain_of(cluster_name(name), self.view.federation.domain):
                raise ChangesRejected(f"{name} claims the trust domain {member.trust_domain}")
            told[member.name], members[member.name] = member, self._believed(member)
        self._members = told
        unsaid = self.view.callers_unsaid
        if not self._judged and not self._verdicts_told:
            # Verdicts come before members, also if there are none: this hub is of a release without.
            self._judged, unsaid = True, None
        self._learn(replace(self.view, members=members, callers_unsaid=unsaid))

    async def _accept_federation(self, changes: Mapping[str, bytes | None]) -> None:
        if not changes:
            return
        domain = self.view.federation.domain
        body = changes.get(domain)
        if body is None or len(changes) > 1:
            raise ChangesRejected(f"this cluster is of the federation {domain}, and of no other")
        federation = records.decode(Federation, domain, body)
        await self._roots.follow(federation, self._now())
        ranges = self._own_ranges or federation.vip_ranges
        moved = frozenset(self.view.imports) if ranges != self.view.vip_ranges else frozenset[ServiceName]()
        members = {name: self._believed(member) for name, member in self._members.items()}
        self._learn(replace(self.view, federation=federation, vip_ranges=ranges, members=members), moved)

    def _accept_trusts(self, changes: Mapping[str, bytes | None]) -> None:
        """Believe trust domains outside of the federation, and none that could speak for one of its own."""
        trusts = dict(self.view.trusts)
        for name, body in changes.items():
            if body is None:
                trusts.pop(name, None)
            else:
                outside(name, self.view.federation.domain)
                trusts[name] = _readable(records.decode(TrustBundle, name, body))
        self._learn(replace(self.view, trusts=trusts))

    def judge(self, probes: Iterable[Probes], link: LinkState) -> None:
        """Send calls nowhere that nobody hears of, by each export's own contract. Call it every `TICK`."""
        if self.judging.look(self._members, self._imports, probes, link, self._now()):
            judged = {name: self.judging.judged(imported) for name, imported in self._imports.items()}
            imports, services = renewed(self.view.imports, judged)
            log.warning("clusters judged by their absence", services=len(services))
            self._learn(replace(self.view, imports=imports), frozenset(services))

    def _accept_verdicts(self, changes: Mapping[str, bytes | None]) -> None:
        self._verdicts_told = True
        verdicts = dict(self.verdicts)
        for name, body in changes.items():
            if body is None:
                verdicts.pop(name, None)
            else:
                verdicts[name] = records.decode(Verdict, name, body)
        callers = _callers(verdicts)
        self.verdicts, self._judged = verdicts, True
        self._learn(replace(self.view, callers=callers, callers_unsaid=_unsaid(verdicts)))

    def reconsider(self) -> None:
        """Believe what was not believed when it came, if it can be now: some clock may have been wrong."""
        doubted = {
            name: told
            for name, told in self._members.items()
            if name in self.view.members and told.anchors != self.view.members[name].anchors
        }
        now = {name: self._believed(told, quietly=True) for name, told in doubted.items()}
        if any(now[name] != self.view.members[name] for name in now):
            self._learn(replace(self.view, members={**self.view.members, **now}))

    def _believed(self, member: Member, *, quietly: bool = False) -> Member:
        """*member* with those issuing CAs that our root answers for, and that can sign for it alone."""
        believed = []
        for chain in member.anchors:
            try:
                check_issuing_ca(chain, self._roots.certificates, member.trust_domain, self._now())
            except PkiError as error:
                if not quietly:
                    log.warning("issuing CA not believed", cluster=member.name, reason=str(error))
            else:
                believed.append(chain)
        return replace(member, anchors=tuple(believed))

    def _passes_on(self, offer: Offer) -> bool:
        """Whether an address is now another workload's than it was last: however long ago that was.

        Gateways that are dialled anew keep nothing of before, so whose addresses were then can be forgotten.
        They are also dialled anew when there is too much to remember.
        """
        if offer.workloads == self.view.offer.workloads:
            return False
        owners = {address: (w.namespace, w.name) for address, w in sources(offer).items()}
        ever = self._owners | owners
        passed = any(self._owners.get(address, owner) != owner for address, owner in owners.items())
        passed |= len(ever) > len(owners) + _MOST_FORMER
        self._owners = owners if passed else ever
        return passed

    def _learn(self, view: ClusterView, services: frozenset[ServiceName] = frozenset()) -> None:
        self.view = view
        for follower in self._followers:
            follower(Learned(view, services))


def _readable(bundle: TrustBundle) -> TrustBundle:
    """*bundle*, if its authorities are certificates; ChangesRejected if not."""
    try:
        for authority in bundle.authorities:
            from_pem(authority)
    except PkiError as error:
        raise ChangesRejected(f"bundle of {bundle.trust_domain}: {error}") from error
    return bundle


def _callers(verdicts: Mapping[str, Verdict]) -> Mapping[ServiceName, tuple[ClusterName, ...] | None]:
    """Who may call each service of ours of which something is said."""
    return {
        ServiceName.parse(verdict.name): verdict.callers
        for verdict in verdicts.values()
        if verdict.of is Published.SERVICE and verdict.name != UNSAID
    }


def _unsaid(verdicts: Mapping[str, Verdict]) -> tuple[ClusterName, ...] | None:
    """Who may call all others."""
    said = next((v for v in verdicts.values() if v.of is Published.SERVICE and v.name == UNSAID), None)
    return said.callers if said else None


def export_of(service: LocalService) -> Export:
    """What this cluster tells the hub of *service*: the ports, how much is ready, and how to carry calls."""
    ports = tuple(sorted(p.port for p in service.ports))
    return Export(
        service.service, ports, len(service.ready), service.traffic, service.passthrough, service.staleness
    )


def _versions(held: tuple[records.Record, ...]) -> Mapping[str, str]:
    return {resource.name: resource.version for resource in map(records.encode, held)}
