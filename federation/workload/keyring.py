"""The agent's JWT keys: read from its disk, renewed in time, and kept there before anybody hears of them."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from clusters import keyring
from clusters.clock import utc_now
from clusters.errors import IdentityUnusable
from clusters.jwt_key import JwtKeys
from federation.log import Log
from federation.rotating import Item, Rotated
from pki.errors import PkiError
from pki.jwt_keys import SigningKey, renew_at, tended
from pki.sealing import UNSEALED, Seal

log = Log(__name__)

WHAT: Final = "JWT key"


class Keyring:
    """The keys in *state*. One agent at a time tends them; one that takes over reads them before that.

    *changed* is called when they are others. While *frozen*, the disk is another's, and nothing is begun.
    """

    def __init__(
        self,
        state: Path,
        trust_domain: str,
        seal: Seal = UNSEALED,
        now: Callable[[], datetime] = utc_now,
        *,
        changed: Callable[[], None] = lambda: None,
        frozen: Callable[[], bool] = lambda: False,
    ) -> None:
        self._state = state
        self._trust_domain = trust_domain
        self._seal = seal
        self._now = now
        self._changed = changed
        self._frozen = frozen
        self._one_at_a_time = asyncio.Lock()
        self.keys: tuple[SigningKey, ...] = keyring.load(state, seal)

    def published(self, cluster: str) -> JwtKeys:
        """What the other members are told of the keys of *cluster*."""
        return JwtKeys(cluster, tuple(keyring.published(key) for key in self.keys))

    def due(self, *, everything: bool) -> tuple[Item, ...]:
        """What `rotate` would do now, or with *everything* if it is forced."""
        return (self._item(),) * self._made(self._tended(everything))

    async def rotate(self, *, force: bool = False) -> Rotated:
        """Do what is due; with *force* there is a next key now. One that cannot be kept is not used."""
        async with self._one_at_a_time:
            keys = self._tended(force)
            if keys == self.keys or self._frozen():
                return Rotated()
            try:
                await asyncio.to_thread(keyring.save, self._state, keys, self._seal)
            except PkiError as error:
                log.error("JWT keys not renewed", reason=str(error))
                return Rotated(failed=(Item(WHAT, self._trust_domain, str(error), error.hint),))
            made, self.keys = self._made(keys), keys
        log.info("JWT keys renewed", keys=len(keys))
        self._changed()
        return Rotated(done=(self._item(),) * made)

    async def reload(self) -> None:
        """Read them again: another agent may have tended them."""
        try:
            self.keys = await asyncio.to_thread(keyring.load, self._state, self._seal)
        except IdentityUnusable as error:
            log.error("JWT keys not read", reason=str(error))

    def _tended(self, force: bool) -> tuple[SigningKey, ...]:
        return tended(self.keys, self._now(), early=force)

    def _made(self, keys: tuple[SigningKey, ...]) -> int:
        """How many of *keys* there were not before."""
        return len({key.key_id for key in keys} - {key.key_id for key in self.keys})

    def _item(self) -> Item:
        """The newest key, as something to be renewed."""
        if not self.keys:
            return Item(WHAT, self._trust_domain)
        again = f"the one after it is made at {renew_at(self.keys[-1]):%Y-%m-%d %H:%M:%S} UTC"
        return Item(WHAT, self._trust_domain, again)
