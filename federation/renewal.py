"""An agent renews its issuing CA: asks the hub, waits until all know the new one, switches, retires the old.

Each step is on the disk before the next begins, so that whoever goes on after a crash, or takes over, goes on
there. The hub may be away at any of them: what is due stays due. What is to be done next is decided by
`pki.rotation`; here it is done.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509

from clusters import succession
from clusters.succession import Retiring, Successor
from federation.audit import Audit, described
from federation.errors import FederationError, HubAway, IssuanceDenied
from federation.identity import Identity
from federation.issuance.messages import Lagging
from federation.log import Log
from federation.roots import Roots
from federation.rotating import Item, Rotated
from pki.authority import from_pem, to_pem
from pki.bundle import check_issuing_ca, fingerprint, fingerprint_of
from pki.csr import make_csr
from pki.errors import PkiError
from pki.rotation import Step, Validity, jitter_of, last_call, next_step, renew_at
from pki.signer import KeySigner

log = Log(__name__)

WHAT: Final = "issuing CA"
_UNANIMOUS: Final = 2  # times in a row: who has acknowledged has put it to use by the second
_POLL: Final = 0.25


class Hub(Protocol):
    """What is asked of the hub. Raises HubAway or IssuanceDenied."""

    async def renew(self, csr: str) -> tuple[str, ...]: ...
    async def reattest(self, csr: str) -> tuple[str, ...]: ...
    async def standing(self, anchor: str) -> tuple[Lagging, ...]: ...
    async def retire(self, anchor: str) -> None: ...


class Renewal:
    """The renewal of one cluster's issuing CA. Only one at a time may `advance` it.

    *switched* is called when another issuing CA signs; *wanted* says of a chain
    whether it is of the root that signs now. While *frozen*, the disk is another agent's, and nothing is
    begun.
    """

    def __init__(
        self,
        state: Path,
        identity: Identity,
        roots: Roots,
        hub: Hub,
        switched: Callable[[], None],
        now: Callable[[], datetime],
        audit: Audit,
        *,
        svid_lifetime: timedelta,
        frozen: Callable[[], bool] = lambda: False,
        wanted: Callable[[Sequence[x509.Certificate]], bool] = lambda _: True,
    ) -> None:
        self._state = state
        self._identity = identity
        self._roots = roots
        self._hub = hub
        self._switched = switched
        self._now = now
        self._audit = audit
        self._svid_lifetime = svid_lifetime
        self._frozen = frozen
        self._wanted = wanted
        self._successor = succession.load_successor(state, identity.kept)
        self._clear = 0
        self.lagging: tuple[Lagging, ...] = ()
        self.trouble: FederationError | PkiError | None = None

    # --- how it stands

    @property
    def active(self) -> Validity:
        """How long the issuing CA that signs is good."""
        return Validity.of(self._identity.authority.certificate)

    @property
    def renew_at(self) -> datetime:
        """When the next one is asked for."""
        return renew_at(self.active, jitter_of(self._identity.authority.certificate))

    @property
    def item(self) -> Item:
        """The issuing CA that signs, as something to be renewed."""
        return Item(WHAT, self._name, f"renewed from {self.renew_at:%Y-%m-%d %H:%M:%S} UTC on")

    def due(self) -> tuple[Item, ...]:
        """What there is to do now."""
        step = self._step(acknowledged=False)
        if step is Step.WAIT:
            return ()
        detail = "its successor waits until everybody knows it" if step is Step.HOLD else self.item.detail
        return (Item(WHAT, self._name, detail),)

    # --- doing it

    async def advance(self) -> Rotated:
        """Do the next thing that is due, if there is one and it can be done."""
        if self._frozen():
            return Rotated()
        done: tuple[Item, ...] = ()
        try:
            done = await self._next()
            await self._retire()
        except (FederationError, PkiError) as error:
            self._in_trouble(error)
            return Rotated(done, self.due(), self._laggards(), self._failed())
        self.trouble = None
        return Rotated(done, self.due(), self._laggards())

    async def complete(self, patience: float, *, force: bool = False) -> Rotated:
        """Go on until nothing is due, or for *patience* seconds; with *force* a new one is due anyhow."""
        if self._frozen():
            return Rotated(failed=(Item(WHAT, self._name, "another agent takes over", "ask that one"),))
        deadline = asyncio.get_running_loop().time() + patience
        try:
            if force and self._usable() is None:
                await self._ask()
        except (FederationError, PkiError) as error:
            self._in_trouble(error)
            return Rotated(due=self.due(), failed=self._failed())
        while True:
            outcome = await self.advance()
            if (
                outcome.done
                or outcome.failed
                or not outcome.due
                or asyncio.get_running_loop().time() > deadline
            ):
                return outcome
            await asyncio.sleep(_POLL)

    @property
    def _name(self) -> str:
        return self._identity.membership.trust_domain

    def _step(self, *, acknowledged: bool) -> Step:
        certificate, successor = self._identity.authority.certificate, self._usable()
        validity = Validity.of(successor.chain[0]) if successor else None
        jitter, now = jitter_of(certificate), self._now()
        step = next_step(now, self.active, jitter, validity, acknowledged=acknowledged)
        wanted = self._wanted(self._identity.authority.chain)
        return Step.ASK if step is Step.WAIT and not wanted else step

    def _usable(self) -> Successor | None:
        """The successor, if the hub has certified it and it can take over."""
        successor = self._successor
        if successor is None or not successor.chain or not self._wanted(successor.chain):
            return None
        return successor if Validity.of(successor.chain[0]).covers(self._now()) else None

    async def _next(self) -> tuple[Item, ...]:
        match self._step(acknowledged=False):
            case Step.ASK:
                await self._ask()
                return await self._hold()
            case Step.HOLD:
                return await self._hold()
            case Step.SWITCH:
                return self._switch()
        self.lagging = ()
        return ()

    async def _ask(self) -> None:
        """Have a key certified: the one that was asked for before, if its answer never came."""
        held = self._successor
        if held is None or held.chain:
            signer = KeySigner.generate()
            closed = await asyncio.to_thread(self._identity.kept.seal.closed, signer.private_pem())
            if self._frozen():
                raise HubAway("another agent takes over meanwhile")
            retiring = self._identity.retiring
            if held is not None:
                # It has signed nothing; were its anchor to stay, the root above it would not be done with.
                retiring = (*retiring, Retiring(to_pem(held.chain[:1]), self._now()))
            held = self._successor = succession.begin(self._state, signer, closed, retiring)
            self._identity.retiring = retiring
        csr, now = make_csr(held.signer.key), self._now()
        ask = self._hub.renew if self.active.covers(now) else self._hub.reattest
        try:
            told = "".join(await ask(csr))
            certificate = check_issuing_ca(told, self._roots.certificates, self._name, self._now())
            if certificate.public_key() != held.signer.public_key():
                raise IssuanceDenied("answer-unusable", "what the hub gave is for another key")
        except IssuanceDenied as error:
            if error.code == "key-used" and not self._frozen():
                self._drop()
            raise
        if self._frozen():
            raise HubAway("another agent takes over meanwhile")
        self._clear = 0
        self._successor = succession.certified(self._state, held, from_pem(told))
        log.info("issuing CA certified", cluster=self._name, anchor=fingerprint(certificate)[:16])

    async def _hold(self) -> tuple[Item, ...]:
        """Switch if everybody has acknowledged the successor, or nobody is waited for any more."""
        successor = self._usable()
        if successor is None:
            return ()
        if not last_call(self._now(), self.active):
            lagging = await self._hub.standing(fingerprint(successor.chain[0]))
            if lagging and lagging != self.lagging:
                names = ", ".join(each.who for each in lagging)
                log.info("issuing CA waits for acknowledgement", cluster=self._name, by=names)
            self.lagging = lagging
            self._clear = 0 if lagging else self._clear + 1
        if self._step(acknowledged=self._clear >= _UNANIMOUS) is not Step.SWITCH or self._frozen():
            return ()
        return self._switch()

    def _switch(self) -> tuple[Item, ...]:
        successor = self._usable()
        if successor is None:
            return ()
        identity, now = self._identity, self._now()
        if self.lagging:
            names = ", ".join(each.who for each in self.lagging)
            log.warning("issuing CA switched before all know it", cluster=self._name, without=names)
        old = succession.retiring_from(identity.kept, now + self._svid_lifetime)
        retiring = (*identity.retiring, old)
        identity.kept = succession.switch(self._state, identity.kept, successor, retiring)
        identity.retiring = retiring
        self._successor, self._clear, self.lagging = None, 0, ()
        self._switched()
        self._audit.record("rotated", self._name, what="issuing-ca", **described(successor.chain[0]))
        log.info("issuing CA switched", cluster=self._name, until=self.active.not_after)
        return (Item(WHAT, self._name, f"valid until {self.active.not_after:%Y-%m-%d %H:%M:%S} UTC"),)

    async def _retire(self) -> None:
        """Have those anchors taken away whose last SVID has ended."""
        for old in self._identity.retiring:
            if self._now() < old.until:
                continue
            await self._hub.retire(fingerprint_of(old.certificate))
            if self._frozen():
                return
            left = tuple(each for each in self._identity.retiring if each != old)
            succession.save_retiring(self._state, left)
            self._identity.retiring = left

    def _drop(self) -> None:
        succession.drop_successor(self._state)
        self._successor = None

    def _in_trouble(self, error: FederationError | PkiError) -> None:
        """Note what is in the way; the log hears of each reason once."""
        if str(error) != str(self.trouble):
            log.warning("issuing CA not renewed", cluster=self._name, reason=str(error), hint=error.hint)
        self.trouble = error

    def _failed(self) -> tuple[Item, ...]:
        return (Item(WHAT, self._name, str(self.trouble), self.trouble.hint),) if self.trouble else ()

    def _laggards(self) -> tuple[Item, ...]:
        return tuple(
            Item(each.what, f"{each.cluster}/{each.gateway}".rstrip("/"), each.reason)
            for each in self.lagging
        )
