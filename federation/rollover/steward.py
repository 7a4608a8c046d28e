"""The hub's part in a rollover: it takes the steps, each when it may be taken, and says who holds it up.

The registry says where the rollover is; authority, certificate and files are brought after it. So a hub that
is killed at any moment goes on from there when it starts again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from clusters.clock import utc_now
from clusters.errors import ClusterError
from clusters.pinned import Server, open_known
from clusters.trust import PROVING_NAME
from federation.api.http import off_the_loop
from federation.audit import Audit, described
from federation.errors import FederationError, NoRollover, RolloverExists, RolloverLags, RolloverTooLate
from federation.hub_authority import CERTIFICATE, KEY, ROOT_KEY, HubAuthority, Vault
from federation.hub_certificate import HubCertificate
from federation.log import Log
from federation.outside import install, request
from federation.registry.records import ProofRecord, RolloverRecord
from federation.registry.registry import Registry
from federation.rollover.files import arrange
from federation.rollover.parties import HUB, Known, parties
from federation.rollover.phases import Outlook, Party, Phase, Step, outlook
from federation.rollover.preparing import Given, prepare, request_next
from federation.rollover.trusting import Trusting
from pki.authority import describe, from_pem
from pki.bundle import fingerprint
from pki.errors import PkiError
from pki.spiffe import hub_id

log = Log(__name__)

_TICK: Final = 1.0
_TIMEOUT: Final = 5.0


@dataclass(slots=True)
class Steward:
    """The one who takes the steps. *own_addresses* are where this hub itself finds its HTTPS face."""

    vault: Vault
    authority: HubAuthority
    certificate: HubCertificate
    registry: Registry
    trusting: Trusting
    prove_at: tuple[str, ...]
    audit: Audit
    now: Callable[[], datetime] = utc_now
    own_addresses: tuple[str, ...] = ()
    rollover: RolloverRecord | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def lock(self) -> asyncio.Lock:
        """Held while a step is taken: whoever changes the authority for another reason takes it too."""
        return self._lock

    # --- how it stands

    async def parties(self) -> tuple[Party, ...]:
        """Everybody whom the rollover waits for."""
        rollover = self._under_way()
        known = [
            Known(record, self.trusting.hears(record.name), self.trusting.of(record.name))
            for record in await self.registry.members.list()
        ]
        (new,) = from_pem(rollover.new)
        proofs = await self.registry.rollovers.proofs(fingerprint(new))
        tokens = await self.registry.tokens.list()
        reissued = self.certificate.leads_to(new)
        now = self.now()
        return tuple(parties(rollover, known, proofs, hub_reissued=reissued, tokens=tokens, now=now))

    async def outlook(self) -> Outlook:
        """What may be done next, or for whom to wait."""
        return outlook(self._under_way().phase, await self.parties())

    # --- a hub CA that is certified elsewhere

    async def request(self, *, coming: bool = False) -> str:
        """Ask for a hub CA: of the present root, or of the one that is *coming*."""
        ask = request_next if coming else request
        return await off_the_loop(lambda: ask(self.vault, self.authority.domain))

    async def install(self, chain: str) -> None:
        """Use the hub CA that a request was answered with."""
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
                await self.registry.rollovers.start(begun, self.prove_at)
            except FederationError:
                self.authority.successor = None
                raise
            await self._follow(begun)
            self._note("started", begun)

    async def resume(self) -> Step:
        """Take the switch, if that is next; RolloverLags says who is not ready. Gives what is next."""
        async with self._lock:
            outlook = await self.outlook()
            _want_nobody(outlook)
            if outlook.step is Step.SWITCH:
                await self._switch()
                return Step.WAIT
            return outlook.step

    async def finish(self) -> None:
        """Retire the old root; RolloverLags says who has something of it."""
        async with self._lock:
            rollover = self._under_way()
            if rollover.phase is not Phase.REISSUING:
                raise RolloverTooLate(rollover.phase)
            _want_nobody(await self.outlook())
            await self.registry.rollovers.finish(rollover.new)
            self.authority.former = None
            await self._follow(None)
            self._note("finished", rollover)

    async def abort(self) -> None:
        """Go back to the old root, as if there had never been a new one. Not after the switch."""
        async with self._lock:
            rollover = self._under_way()
            await self.registry.rollovers.abort(rollover.new)
            self.authority.successor = None
            await self._follow(None)
            self._note("aborted", rollover)

    async def set_auto(self) -> None:
        """Take each step as soon as it may be taken, from now on."""
        async with self._lock:
            self.rollover = await self.registry.rollovers.set_auto(True)

    async def run(self) -> None:
        """Prove what this hub has to prove, and take the steps of a rollover that is `auto`, for ever."""
        while True:
            await asyncio.sleep(_TICK)
            if self.rollover is not None:
                try:
                    await self._tick(self.rollover)
                except (FederationError, PkiError) as error:
                    log.error("rollover does not go on", reason=str(error))

    async def _tick(self, rollover: RolloverRecord) -> None:
        (new,) = from_pem(rollover.new)
        root = fingerprint(new)
        if rollover.phase is Phase.SPREADING and HUB not in await self.registry.rollovers.proofs(root):
            await self._prove_itself(rollover)
        if rollover.auto:
            with contextlib.suppress(RolloverLags, NoRollover, RolloverTooLate):
                if await self.resume() is Step.FINISH:
                    await self.finish()

    async def _switch(self) -> None:
        switched = await self.registry.rollovers.switch(self._under_way().new, self.now())
        successor = self.authority.successor
        if successor is not None:
            # At once, before the files: whoever hears of the switch asks for what the new root signs.
            self.authority.former, self.authority.root = self.authority.root, successor.root
            self.authority.hub_ca, self.authority.successor = successor.hub_ca, None
        await self._follow(switched)
        self._note("switched", switched)

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
        await self.prove(HUB, fingerprint(new))

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
