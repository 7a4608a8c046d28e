"""The agent's JWT keys: read from its disk, renewed in time, and kept there before anybody hears of them."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from clusters import keyring
from clusters.clock import utc_now
from clusters.errors import IdentityUnusable
from clusters.jwt_key import JwtKeys
from federation.log import Log
from pki.errors import PkiError
from pki.jwt_keys import SigningKey, tended

log = Log(__name__)


class Keyring:
    """The keys in *state*. One agent at a time tends them; one that takes over reads them before that."""

    def __init__(self, state: Path, now: Callable[[], datetime] = utc_now) -> None:
        self._state = state
        self._now = now
        self.keys: tuple[SigningKey, ...] = keyring.load(state)

    def published(self, cluster: str) -> JwtKeys:
        """What the other members are told of the keys of *cluster*."""
        return JwtKeys(cluster, tuple(keyring.published(key) for key in self.keys))

    async def tend(self) -> bool:
        """Do what is due; says whether the keys are others now. A key that cannot be kept is not used."""
        keys = tended(self.keys, self._now())
        if keys == self.keys:
            return False
        try:
            await asyncio.to_thread(keyring.save, self._state, keys)
        except PkiError as error:
            log.error("JWT keys not renewed", reason=str(error))
            return False
        self.keys = keys
        log.info("JWT keys renewed", keys=len(keys))
        return True

    def reload(self) -> None:
        """Read them again: another agent may have tended them."""
        try:
            self.keys = keyring.load(self._state)
        except IdentityUnusable as error:
            log.error("JWT keys not read", reason=str(error))
