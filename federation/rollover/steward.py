"""A hub's part in a rollover: the elected one takes the steps, each when it may, and says who holds it up.

The registry says where the rollover is; authority, certificate and files are brought after it, at every hub.
So a hub that is killed at any moment goes on from there when it starts again, and another hub does at once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from clusters.errors import ClusterError
from clusters.model import Federation
from clusters.names import ClusterName
from clusters.pinned import Server, open_known
from clusters.trust import PROVING_NAME
from federation.api.http import off_the_loop
from federation.audit import Audit, described
from federation.errors import (
    FederationError,
    NoRollover,
    NotElected,
    NotLagging,
    RolloverExists,
    RolloverLags,
    RolloverTooLate,
)
from federation.hub_authority import CERTIFICATE, KEY, ROOT, ROOT_KEY, HubAuthority, Vault
from federation.hub_certificate import HubCertificate
from federation.log import Log
from federation.outside import install, request
from federation.registry.records import ProofRecord, RolloverRecord
from federation.registry.registry import Registry
from federation.registry.rollovers import told
from federation.rollover.files import arrange, settle
from federation.rollover.parties import Known, hub_party, parties
from federation.rollover.phases import Outlook, Party, Phase, Step, outlook
from federation.rollover.preparing import Given, prepare, request_next
from federation.rollover.trusting import Trusting
from pki.authority import describe, from_pem, to_pem
from pki.bundle import fingerprint
from pki.errors import CannotIssue, PkiError
from pki.rotation import Validity
from pki.spiffe import hub_id

log = Log(__name__)

_TICK: Final = 1.0
_TIMEOUT: Final = 5.0


@dataclass(slots=True)
class Steward:
    """The one who takes the steps, at the hub *name*.

    *elected* gives the registry by which steps are taken, and raises NotElected where they are not. *hubs*
    gives the hubs that run, with whether each one's certificate is of the root with the fingerprint said.
    *own_addresses* are where this hub itself finds its HTTPS face. In the span *outside* those who follow our
    bundles hear of a new root.
    """

    vault: Vault
    authority: HubAuthority
    certificate: HubCertificate
    registry: Registry
    trusting: Trusting
    prove_at: tuple[str, ...]
    audit: Audit
    now: Callable[[], datetime]
    name: str
    elected: Callable[[], Registry]
    hubs: Callable[[str], Mapping[str, bool]]
    own_addresses: tuple[str, ...] = ()
    outside: timedelta = timedelta()
    rollover: RolloverRecord | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _trouble: str = ""
    _settled: object = None

    @property
    def lock(self) -> asyncio.Lock:
        """Held while a step is taken: whoever changes the authority for another reason takes it too."""
        return self._lock

    # --- how it stands

    async def parties(self, without: Collection[ClusterName] = ()) -> tuple[Party, ...]:
        """Everybody whom the rollover waits for; or would, *without* some clusters and their tokens."""
        rollover = self._under_way()
        known = [
            Known(record, self.trusting.hears(record.name), self.trusting.of(record.name))
            for record in await self.registry.members.list()
            if record.name not in without
        ]
        (new,) = from_pem(rollover.new)
        proofs = await self.registry.rollovers.proofs(fingerprint(new))
        tokens = [t for t in await self.registry.tokens.list() if t.cluster not in without]
        hubs = {**self.hubs(fingerprint(new)), self.name: self.certificate.leads_to(new)}
        heard = rollover.started + self.outside
        return tuple(
            parties(rollover, known, proofs, hubs=hubs, tokens=tokens, heard_outside=heard, now=self.now())
        )

    async def outlook(self, without: Collection[ClusterName] = ()) -> Outlook:
        """What may be done next, or for whom to wait."""
        return outlook(self._under_way().phase, await self.parties(without))

    # --- a hub CA that is certified elsewhere

    async def request(self, *, coming: bool = False) -> str:
        """Ask for a hub CA: of the present root, or of the one that is *coming*."""
        self.elected()
        ask = request_next if coming else request
        return await off_the_loop(lambda: ask(self.vault, self.authority.domain))

    async def install(self, chain: str) -> None:
        """Use the hub CA that a request was answered with."""
        self.elected()
        async with self._lock:
            domain, now = self.authority.domain, self.now()
            self.authority.hub_ca = await off_the_loop(lambda: install(self.vault, domain, chain, now))
            self.certificate.issue()
            installed = self.authority.hub_ca.certificate
            self.audit.record("rotated", describe(installed), what="hub-ca", **described(installed))

    # --- the steps

    async def start(self, given: Given | None = None, *, auto: bool = False) -> None:
        """Prepare a new root, one of our own unless another is *given*, and have everybody told of it."""
        async with self._lock:
            elected = self.elected()
            if self.rollover is not None:
                raise RolloverExists(self.rollover.phase)
            domain, now = self.authority.domain, self.now()
            prepared, successor = await off_the_loop(
                lambda: prepare(self.vault, given or Given(), domain, now)
            )
            # First here: whoever joins from now on is told of both, whether the registry has it yet or not.
            self.authority.successor = successor
            begun = replace(prepared, started=self.now(), auto=auto)
            try:
                await elected.rollovers.start(begun, self.prove_at)
            except FederationError:
                self.authority.successor = None
                raise
            await self._follow(begun)
            self._note("started", begun)

    async def resume(self, skip: Collection[ClusterName] = (), *, actor: str = "") -> Step:
        """Take the switch, if that is next; RolloverLags says who is not ready. Gives what is next.

        Clusters to *skip* are evicted, if the switch can be taken without them and not with any of them.
        """
        async with self._lock:
            self.elected()
            phase = self._under_way().phase
            if skip and phase is not Phase.SPREADING:
                raise RolloverTooLate(phase)
            outlook = await self._ready(skip, actor)
            if outlook.step is Step.SWITCH:
                await self._switch()
                return Step.WAIT
            return outlook.step

    async def finish(self, skip: Collection[ClusterName] = (), *, actor: str = "") -> None:
        """Retire the old root; RolloverLags says who has something of it. *skip* as with `resume`."""
        async with self._lock:
            elected, rollover = self.elected(), self._under_way()
            if rollover.phase is not Phase.REISSUING:
                raise RolloverTooLate(rollover.phase)
            await self._ready(skip, actor)
            await elected.rollovers.finish(rollover.new)
            self.authority.former = None
            await self._follow(None)
            self._note("finished", rollover)

    async def abort(self) -> None:
        """Go back to the old root, as if there had never been a new one. Not after the switch."""
        async with self._lock:
            elected, rollover = self.elected(), self._under_way()
            await elected.rollovers.abort(rollover.new)
            self.authority.successor = None
            await self._follow(None)
            self._note("aborted", rollover)

    async def set_auto(self) -> None:
        """Take each step as soon as it may be taken, from now on."""
        async with self._lock:
            self.rollover = await self.elected().rollovers.set_auto(True)

    # --- following

    def heed(self, rollover: RolloverRecord | None) -> None:
        """Take in what the registry says by now: the files have changed, or the rollover has gone on.

        A switch is followed at once: whoever hears of it, from any hub, asks for what the new root signs.
        """
        self.rollover = rollover
        if rollover is not None and rollover.phase is Phase.REISSUING:
            self._take_over()
        self._changed.set()

    async def settle(self) -> None:
        """Bring authority and certificate to where the registry is, if other hubs have the same files."""
        shared = self.vault.shared
        if shared is None:
            return
        async with self._lock:
            await shared.load()
            rollover = self.rollover
            if (state := (shared.files, rollover)) == self._settled:
                return
            domain, now, copied = self.authority.domain, self.now(), self.vault.copied()
            opened = await off_the_loop(lambda: settle(copied, domain, rollover, now, renew=False))
            self.authority.become(opened)
            self.certificate.follow()
            self._settled = state

    async def take_office(self, federation: Federation) -> None:
        """Bring the files to where the registry is, and write down what everybody is to know of *federation*.

        For who has just been elected: the one before may have died in the middle of a step.
        """
        async with self._lock:
            elected = self.elected()
            if self.vault.shared is not None:
                await self.vault.shared.load()
            rollover = await elected.rollovers.get()
            await off_the_loop(lambda: arrange(self.vault, rollover))
            root = to_pem(self.vault.certificates(ROOT))
            await elected.set_federation(told(federation, root, rollover, self.prove_at))

    async def run(self) -> None:
        """Follow the registry, prove what this hub has to prove, and take the steps of an `auto` rollover."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._changed.wait()
            try:
                if self._changed.is_set():
                    self._changed.clear()
                    await self.settle()
                if self.rollover is not None:
                    await self._tick(self.rollover)
                self._trouble = ""
            except (FederationError, PkiError, OSError) as error:
                if str(error) != self._trouble:
                    log.error("rollover does not go on", reason=str(error))
                self._trouble = str(error)
                await asyncio.sleep(_TICK)
                self._changed.set()

    async def _tick(self, rollover: RolloverRecord) -> None:
        (new,) = from_pem(rollover.new)
        proofs = await self.registry.rollovers.proofs(fingerprint(new))
        if rollover.phase is Phase.SPREADING and hub_party(self.name) not in proofs:
            await self._prove_itself(rollover)
        if rollover.auto:
            with contextlib.suppress(RolloverLags, NoRollover, RolloverTooLate, NotElected):
                if await self.resume() is Step.FINISH:
                    await self.finish()

    async def _ready(self, skip: Collection[ClusterName], actor: str) -> Outlook:
        """What is next, once those to *skip* are evicted: only if it waits for all of them and no other."""
        outlook = await self.outlook()
        if skip:
            lagging = {party.name for party in outlook.lagging}
            if spared := sorted(name for name in skip if name not in lagging):
                raise NotLagging(spared)
            outlook = await self.outlook(skip)
        _want_nobody(outlook)
        self._check_successor()
        for name in skip:
            await self.elected().members.evict(name, self.now())
            log.warning("cluster evicted", cluster=name)
            self.audit.record("evicted", name, actor=actor, what="rollover")
        return outlook

    def _check_successor(self) -> None:
        """Raise CannotIssue if what is to sign has ended."""
        successor = self.authority.successor
        if successor and not Validity.of(successor.hub_ca.certificate).covers(self.now()):
            raise CannotIssue(describe(successor.hub_ca.certificate), "it has ended: abort, and start again")

    async def _switch(self) -> None:
        switched = await self.elected().rollovers.switch(self._under_way().new, self.now())
        # At once, before the files: whoever hears of the switch asks for what the new root signs.
        self._take_over()
        await self._follow(switched)
        self._note("switched", switched)

    def _take_over(self) -> None:
        """Sign with what is new from now on, once: we may hear of our own switch before it is answered."""
        successor = self.authority.successor
        if successor is not None:
            self.authority.former, self.authority.root = self.authority.root, successor.root
            self.authority.hub_ca, self.authority.successor = successor.hub_ca, None

    async def _follow(self, rollover: RolloverRecord | None) -> None:
        """Bring files and certificate to where the rollover is; the authority is there already."""
        self.rollover = rollover
        await off_the_loop(lambda: arrange(self.vault, rollover))
        self.authority.has_root_key = self.vault.has(ROOT_KEY)
        self.certificate.follow()

    async def prove(self, party: str, root: str) -> None:
        """Note that *party* was seen to believe a chain of the *root* with this fingerprint."""
        await self.registry.rollovers.prove(party, ProofRecord(root, self.now()))
        self.audit.record("rollover-proved", party, root=root)

    async def _prove_itself(self, rollover: RolloverRecord) -> None:
        """See our own new chain as everybody sees it."""
        (new,) = from_pem(rollover.new)
        hub = Server("hub", hub_id(self.authority.domain), self.own_addresses, PROVING_NAME)
        shown: tuple[Path, Path] = (self.vault.state / CERTIFICATE, self.vault.state / KEY)
        try:
            connection = await off_the_loop(lambda: open_known(hub, (new,), shown, _TIMEOUT))
        except ClusterError as error:
            log.warning("own proof failed", reason=str(error))
            return
        connection.close()
        await self.prove(hub_party(self.name), fingerprint(new))

    def _note(self, what: str, rollover: RolloverRecord) -> None:
        (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
        self.audit.record(f"rollover-{what}", describe(new), old=fingerprint(old), new=fingerprint(new))
        log.info(f"rollover {what}", old=fingerprint(old), new=fingerprint(new))

    def _under_way(self) -> RolloverRecord:
        if self.rollover is None:
            raise NoRollover
        return self.rollover


def _want_nobody(outlook: Outlook) -> None:
    if outlook.lagging:
        raise RolloverLags((party.name, party.why) for party in outlook.lagging)
