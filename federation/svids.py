"""The SVIDs that an agent mints: one for each identity, kept until about half of its life is over.

Keys are made here, for workloads too: the egress gateway speaks for them. They live in memory only.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pki.authority import Authority, to_pem
from pki.errors import CannotIssue
from pki.lifetimes import SVID_LIFETIME
from pki.profile import svid
from pki.rotation import Validity, due, renew_at
from pki.signer import KeySigner
from pki.spiffe import SpiffeId


@dataclass(frozen=True, slots=True)
class Svid:
    """A certificate with its key, and the chain up to (without) the root."""

    spiffe_id: SpiffeId
    serial: int
    validity: Validity
    jitter: float
    chain_pem: str = field(repr=False)
    key_pem: str = field(repr=False)

    @property
    def renew_at(self) -> datetime:
        """When it is replaced."""
        return renew_at(self.validity, self.jitter)


class Svids:
    """The newest SVID of every identity that somebody asked for."""

    def __init__(
        self,
        authority: Authority,
        *,
        lifetime: timedelta = SVID_LIFETIME,
        jitter: Callable[[], float] = random.random,
        minted: Callable[[Svid], None] = lambda _: None,
    ) -> None:
        self._authority = authority
        self._lifetime = lifetime
        self._jitter = jitter
        self._minted = minted
        self._held: dict[SpiffeId, Svid] = {}
        self._refused: frozenset[SpiffeId] = frozenset()
        self._outdated: set[SpiffeId] = set()

    def get(self, spiffe_id: SpiffeId, now: datetime) -> Svid:
        """The SVID of *spiffe_id*, minted if there is none or it is due.

        One that is due and cannot be renewed is used to its end; after that CannotIssue is raised. For who is
        refused it is raised at once.
        """
        if spiffe_id in self._refused:
            raise CannotIssue(self._authority.certificate.subject.rfc4514_string(), f"{spiffe_id} is revoked")
        held = self._held.get(spiffe_id)
        if held is not None and spiffe_id not in self._outdated and not due(now, held.validity, held.jitter):
            return held
        try:
            minted = self._mint(spiffe_id, now)
        except CannotIssue:
            if held is None or not held.validity.covers(now):
                raise
            return held
        self._held[spiffe_id] = minted
        self._outdated.discard(spiffe_id)
        self._minted(minted)
        return minted

    def refuse(self, ids: frozenset[SpiffeId]) -> None:
        """Have nothing for *ids*, and for nobody else any more, until told otherwise."""
        self._refused = ids
        for spiffe_id in ids & self._held.keys():
            del self._held[spiffe_id]

    def issue_by(self, authority: Authority) -> None:
        """Have *authority* sign what is minted from now on; what there is, is used until it is due."""
        self._authority = authority

    def outdate(self) -> None:
        """Have everything minted anew, due or not."""
        self._outdated = set(self._held)

    def all(self) -> tuple[Svid, ...]:
        """Every SVID that may still be in use, by name."""
        return tuple(self._held[spiffe_id] for spiffe_id in sorted(self._held))

    def is_due(self, now: datetime) -> bool:
        """Whether some SVID is due."""
        return self.count_due(now) > 0

    def count_due(self, now: datetime) -> int:
        """How many are due."""
        return sum(i in self._outdated or due(now, s.validity, s.jitter) for i, s in self._held.items())

    def next_due(self, now: datetime) -> datetime | None:
        """When the next of them will be due; None if none will."""
        return min((s.renew_at for s in self._held.values() if s.renew_at > now), default=None)

    def drop_expired(self, now: datetime) -> None:
        """Forget what is over: those whom nobody asks for any more are not renewed, and end here."""
        for spiffe_id in [i for i, held in self._held.items() if not held.validity.covers(now)]:
            del self._held[spiffe_id]
            self._outdated.discard(spiffe_id)

    def _mint(self, spiffe_id: SpiffeId, now: datetime) -> Svid:
        signer = KeySigner.generate()
        certificate = self._authority.issue(svid(spiffe_id, self._lifetime), signer.public_key(), now)
        return Svid(
            spiffe_id,
            certificate.serial_number,
            Validity.of(certificate),
            self._jitter(),
            to_pem([certificate, *self._authority.chain]),
            signer.private_pem().decode(),
        )
