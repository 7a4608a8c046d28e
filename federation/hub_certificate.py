"""The hub's own certificate, as all of its TLS servers show it; and the one by which others prove themselves.

Who asks for `PROVING_NAME` while a root is to come is shown a chain of that root: who believes it by that
root alone has proved to trust it.
"""

import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from clusters.trust import PROVING_NAME
from federation.api.http import switching, tls_context
from federation.audit import Audit
from federation.audit import described as told_of
from federation.hub_authority import CERTIFICATE, KEY, HubAuthority, write_certificate
from gateway.rpc import TlsMaterial
from pki import keystore
from pki.authority import describe, from_pem
from pki.bundle import root_of
from pki.profile import hub

_NEXT: Final = ("next-hub.pem", "next-hub.key")


class HubCertificate:
    """What the hub shows, and whom it believes: as *authority* has it, and brought after it by `follow`."""

    def __init__(
        self,
        state: Path,
        authority: HubAuthority,
        names: tuple[str, ...],
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._state = state
        self._authority = authority
        self._names = names
        self._audit = audit
        self._now = now
        self._proving: ssl.SSLContext | None = None
        self.tls = switching(self._context)
        self.issue()

    def material(self) -> TlsMaterial:
        """What the sync stream's server shows, and whom it believes."""
        chain, key = (keystore.read(self._state / name).decode() for name in (CERTIFICATE, KEY))
        return TlsMaterial(chain, key, "".join(self._authority.roots))

    def issue(self) -> None:
        """Have a new one made, and show it from the next connection on."""
        written = self._authority.write_certificate(self._state, self._names, self._now())
        self._audit.record("issued", describe(written), what="hub", **told_of(written))
        self._show()

    def follow(self) -> None:
        """Bring what is shown after the authority: after it has changed."""
        if self.leads_to(self._authority.root):
            self._show()
        else:
            self.issue()

    def leads_to(self, root: x509.Certificate) -> bool:
        """Whether what is shown is of *root*."""
        return root_of(self.chain, [root]) is not None

    def proves(self, tls: ssl.SSLContext | None) -> bool:
        """Whether a connection by *tls* proves that the client trusts the root that is to come."""
        return self._proving is not None and tls is self._proving

    @property
    def certificate(self) -> x509.Certificate:
        """The one that is shown."""
        return self.chain[0]

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """It and what leads up from it."""
        return from_pem(keystore.read(self._state / CERTIFICATE))

    def _show(self) -> None:
        roots, successor = "".join(self._authority.roots), self._authority.successor
        self._shown = tls_context(self._state / CERTIFICATE, self._state / KEY, roots)
        self._proving = None
        chain, key = (self._state / name for name in _NEXT)
        if successor is None:
            chain.unlink(missing_ok=True)
            key.unlink(missing_ok=True)
        else:
            names = (*self._names, PROVING_NAME)
            described = hub(self._authority.domain, names, self._authority.lifetimes.hub)
            write_certificate(successor.hub_ca, described, self._now(), chain, key)
            self._proving = tls_context(chain, key, roots)

    def _context(self, name: str | None) -> ssl.SSLContext:
        return self._proving if name == PROVING_NAME and self._proving is not None else self._shown
