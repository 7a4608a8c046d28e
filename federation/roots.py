"""The roots that an agent trusts: one cell for all who verify by them, and a file that outlives the process.

What the hub tells counts if those who are trusted vouch for it, and if our own issuing CA still leads to one
of them; it is on disk before anybody hears that we took it.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from clusters.identity import ROOTS_FILE
from clusters.model import Federation
from federation.errors import ChangesRejected, FederationError
from pki import keystore
from pki.authority import from_pem, to_pem
from pki.bundle import fingerprint, root_of
from pki.errors import PkiError
from pki.succession import accepted, bundle_hash

Keep = Callable[[str], None]
OwnChain = Callable[[], Sequence[x509.Certificate]]


class Roots:
    """The roots that count here. *own_chain* is our issuing CA's; *keep* puts roots on the disk, as PEM."""

    def __init__(self, certificates: tuple[x509.Certificate, ...], own_chain: OwnChain, keep: Keep) -> None:
        self.certificates = certificates
        self.crosses: tuple[str, ...] = ()
        """Cross-certificates, PEM, for those of ours who were away when a new root came."""
        self._own_chain = own_chain
        self._keep = keep

    @property
    def each(self) -> tuple[str, ...]:
        """Each of them, PEM."""
        return tuple(to_pem([root]) for root in self.certificates)

    @property
    def pem(self) -> str:
        """All of them, PEM."""
        return "".join(self.each)

    @property
    def hash(self) -> str:
        """Which ones they are, in a word."""
        return bundle_hash(self.certificates)

    def are(self, told: Sequence[str]) -> bool:
        """Whether they are those of *told*, each PEM."""
        return set(self.each) == set(told)

    async def follow(self, federation: Federation, now: datetime) -> None:
        """Trust what *federation* says, as far as that is vouched for; else ChangesRejected says why not."""
        if self.are(federation.roots):
            self.crosses = federation.crosses
            return
        try:
            told = tuple(root for pem in federation.roots for root in from_pem(pem))
            crosses = tuple(cross for pem in federation.crosses for cross in from_pem(pem))
            roots = accepted(self.certificates, told, crosses, now)
        except PkiError as error:
            raise ChangesRejected(f"the roots are not taken: {error}") from error
        if root_of(self._own_chain(), roots) is None:
            raise ChangesRejected("the roots are not taken: none of them is that of our own issuing CA")
        try:
            await asyncio.to_thread(self._keep, to_pem(roots))
        except PkiError as error:
            raise FederationError(f"the roots could not be kept: {error}") from error
        self.certificates, self.crosses = roots, federation.crosses

    def lead(self, chain: Sequence[x509.Certificate], signing: str) -> bool:
        """Whether *chain* is of the root *signing*, by its fingerprint; if that is not known, any will do."""
        root = self.named(signing)
        return root is None or root_of(chain, [root]) is not None

    def named(self, wanted: str) -> x509.Certificate | None:
        """The one with the fingerprint *wanted*."""
        return next((root for root in self.certificates if fingerprint(root) == wanted), None)


def kept_in(state: Path) -> Keep:
    """Keep them where the identity in *state* has them."""
    return lambda pem: keystore.write(state / ROOTS_FILE, pem.encode())
