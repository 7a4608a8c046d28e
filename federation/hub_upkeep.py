"""What a hub keeps fresh, by itself and when it is told to: its certificate, and if elected the hub CA."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography import x509

from federation.api.http import off_the_loop
from federation.audit import Audit, described
from federation.errors import FederationError
from federation.hub_authority import HubAuthority, Vault
from federation.hub_certificate import HubCertificate
from federation.log import Log
from federation.rollover.preparing import renewed
from federation.rotating import Item, OneAtATime, Rotated
from pki.authority import describe
from pki.errors import PkiError
from pki.rotation import Validity, due, jitter_of, renew_at

log = Log(__name__)

HUB_CA: Final = "hub CA"
HUB: Final = "hub certificate"
NEXT_HUB_CA: Final = "hub CA of the new root"

_LONGEST_TICK: Final = 600.0
_SHORTEST_TICK: Final = 0.5
_TICKS_IN_A_LIFE: Final = 20
_NO_ROOT_KEY: Final = "the root's key is not here: `fedgate ca csr`, have it signed, `fedgate ca install`"


class HubUpkeep:
    """The renewals of one hub. *lock* is held by whoever changes the authority for another reason.

    *elected* says whether the hub CA, which is that of all hubs, is this one's to renew.
    """

    def __init__(
        self,
        vault: Vault,
        authority: HubAuthority,
        certificate: HubCertificate,
        lock: asyncio.Lock,
        audit: Audit,
        now: Callable[[], datetime],
        elected: Callable[[], bool],
    ) -> None:
        self._elected = elected
        self._vault = vault
        self._authority = authority
        self._certificate = certificate
        self._lock = lock
        self._audit = audit
        self._now = now
        self._work = OneAtATime(self._do)
        self._trouble = ""

    async def run(self) -> None:
        """Renew what is due, for ever. Nobody has to call `rotate` for that."""
        while True:
            await asyncio.sleep(self._pause())
            await self.rotate()

    async def rotate(self, *, force: bool = False, dry_run: bool = False) -> Rotated:
        """Do what is due (with *force* everything) and say what came of it; with *dry_run* only say it."""
        if dry_run:
            return Rotated(due=tuple(_item(what, held) for what, held in self._due(everything=force)))
        return await self._work.rotate(force=force)

    async def _do(self, force: bool) -> Rotated:
        done: list[Item] = []
        failed: list[Item] = []
        async with self._lock:
            for what, before in self._due(everything=force):
                try:
                    done.append(_item(what, await self._renewed(what)))
                    log.info(f"{what} renewed")
                except (FederationError, PkiError, OSError) as error:
                    failed.append(Item(what, "", str(error), getattr(error, "hint", "") or _NO_ROOT_KEY))
                    if str(error) != self._trouble:
                        log.error(f"{what} not renewed", reason=str(error), until=before.not_valid_after_utc)
        self._trouble = failed[0].detail if failed else ""
        return Rotated(tuple(done), failed=tuple(failed))

    async def _renewed(self, what: str) -> x509.Certificate:
        if what == HUB:
            self._certificate.issue()
            return self._certificate.certificate
        coming = self._authority.successor
        if what == NEXT_HUB_CA and coming is not None:
            vault, domain, now = self._vault, self._authority.domain, self._now()
            self._authority.successor = await off_the_loop(lambda: renewed(vault, coming, domain, now))
            self._certificate.follow()
            return self._authority.successor.hub_ca.certificate
        await off_the_loop(lambda: self._authority.renew_hub_ca(self._vault, self._now()))
        certificate = self._authority.hub_ca.certificate
        self._audit.record("rotated", describe(certificate), what="hub-ca", **described(certificate))
        return certificate

    def _due(self, *, everything: bool) -> list[tuple[str, x509.Certificate]]:
        """The hub CA first: the hub's own certificate is by the newest."""
        ca = [(HUB_CA, self._authority.hub_ca.certificate)]
        if coming := self._authority.successor:
            ca.append((NEXT_HUB_CA, coming.hub_ca.certificate))
        held = [*(ca if self._elected() else []), (HUB, self._certificate.certificate)]
        now = self._now()
        return [(what, c) for what, c in held if everything or due(now, Validity.of(c), jitter_of(c))]

    def _pause(self) -> float:
        """Seconds until there may be something to do: short where lives are short."""
        lives = [Validity.of(c) for c in (self._certificate.certificate, self._authority.hub_ca.certificate)]
        shortest = min((v.not_after - v.not_before).total_seconds() for v in lives)
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, shortest / _TICKS_IN_A_LIFE))


def _item(what: str, certificate: x509.Certificate) -> Item:
    validity = Validity.of(certificate)
    again = renew_at(validity, jitter_of(certificate))
    until = f"valid until {validity.not_after:%Y-%m-%d %H:%M:%S} UTC"
    return Item(what, "", f"{until}, renewed from {again:%Y-%m-%d %H:%M:%S} on")
