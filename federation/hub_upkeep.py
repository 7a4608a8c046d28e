"""What a hub keeps fresh, by itself and when it is told to: the hub CA, and its own certificate."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from federation.api.http import off_the_loop, tls_context
from federation.audit import Audit, described
from federation.hub_authority import CERTIFICATE, KEY, HubAuthority
from federation.log import Log
from federation.rotating import Item, OneAtATime, Rotated
from gateway.rpc import TlsMaterial
from pki import keystore
from pki.authority import describe, from_pem
from pki.errors import PkiError
from pki.rotation import Validity, due, jitter_of, renew_at

log = Log(__name__)

_LONGEST_TICK: Final = 600.0
_SHORTEST_TICK: Final = 0.5
_TICKS_IN_A_LIFE: Final = 20


class HubUpkeep:
    """The renewals of one hub, and its certificate as both of its TLS servers show it."""

    def __init__(
        self,
        state: Path,
        authority: HubAuthority,
        names: tuple[str, ...],
        now: Callable[[], datetime],
        audit: Audit,
    ) -> None:
        self._state = state
        self._authority = authority
        self._names = names
        self._now = now
        self._audit = audit
        self._work = OneAtATime(self._do)
        self._trouble = ""
        self._write()
        self.tls: ssl.SSLContext = tls_context(state / CERTIFICATE, state / KEY)
        self._shown = self._read()

    def material(self) -> TlsMaterial:
        """What the sync stream's server shows, and whom it believes."""
        chain, key = self._shown
        return TlsMaterial(chain, key, "".join(self._authority.roots))

    async def run(self) -> None:
        """Renew what is due, for ever. Nobody has to call `rotate` for that."""
        while True:
            await asyncio.sleep(self._pause())
            await self.rotate()

    async def rotate(self, *, force: bool = False, dry_run: bool = False) -> Rotated:
        """Do what is due (with *force* everything) and say what came of it; with *dry_run* only say it."""
        if dry_run:
            return Rotated(due=tuple(_item(what, cert) for what, cert in self._due(force)))
        return await self._work.rotate(force=force)

    async def _do(self, force: bool) -> Rotated:
        done: list[Item] = []
        failed: list[Item] = []
        for what, before in self._due(force):
            try:
                done.append(_item(what, await self._renew(what)))
                log.info(f"{what} renewed")
            except (PkiError, OSError) as error:
                hint = getattr(error, "hint", "")
                failed.append(Item(what, self._authority.domain, str(error), hint))
                if str(error) != self._trouble:
                    log.error(f"{what} not renewed", reason=str(error), until=before.not_valid_after_utc)
        self._trouble = failed[0].detail if failed else ""
        return Rotated(tuple(done), failed=tuple(failed))

    async def _renew(self, what: str) -> x509.Certificate:
        if what == HUB_CA:
            await off_the_loop(lambda: self._authority.renew_hub_ca(self._state, self._now()))
            certificate = self._authority.hub_ca.certificate
            self._audit.record("rotated", describe(certificate), what="hub-ca", **described(certificate))
            return certificate
        self._write()
        self.tls.load_cert_chain(self._state / CERTIFICATE, self._state / KEY)
        self._shown = self._read()
        return self._certificate

    def _write(self) -> None:
        written = self._authority.write_certificate(self._state, self._names, self._now())
        self._audit.record("issued", describe(written), what="hub", **described(written))

    @property
    def _certificate(self) -> x509.Certificate:
        return from_pem(self._shown[0])[0]

    def _read(self) -> tuple[str, str]:
        chain, key = (keystore.read(self._state / name).decode() for name in (CERTIFICATE, KEY))
        return chain, key

    def _due(self, everything: bool) -> list[tuple[str, x509.Certificate]]:
        """The hub CA first: the hub's own certificate is by the newest."""
        held = [(HUB_CA, self._authority.hub_ca.certificate), (HUB, self._certificate)]
        now = self._now()
        return [(what, c) for what, c in held if everything or due(now, Validity.of(c), jitter_of(c))]

    def _pause(self) -> float:
        """Seconds until there may be something to do: short where lives are short."""
        lives = [Validity.of(c) for c in (self._certificate, self._authority.hub_ca.certificate)]
        shortest = min((v.not_after - v.not_before).total_seconds() for v in lives)
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, shortest / _TICKS_IN_A_LIFE))


HUB_CA: Final = "hub CA"
HUB: Final = "hub certificate"


def _item(what: str, certificate: x509.Certificate) -> Item:
    validity = Validity.of(certificate)
    again = renew_at(validity, jitter_of(certificate))
    detail = (
        f"valid until {validity.not_after:%Y-%m-%d %H:%M:%S} UTC, renewed from {again:%Y-%m-%d %H:%M:%S} on"
    )
    return Item(what, "", detail)
