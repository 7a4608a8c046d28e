"""The keys that sign a cluster's JWT-SVIDs: when there is a next one, and which one signs. Decisions only.

A key is published from the day it is made until its end, and signs in the second half of that time, when the
one before it ends: everybody has known it for half of its life by then.

    key 1   published ··········  signs ──────────
    key 2                         published ··········  signs ──────────
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pki import rotation
from pki.jwt_svid import LEEWAY, LIFETIME, key_id
from pki.profile import BACKDATE
from pki.rotation import Validity, due
from pki.signer import KeySigner

KEY_LIFETIME: Final = timedelta(days=2)

_HALF: Final = 0.5  # the jitter that renews exactly half-way: clusters were not born at the same moment


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and from when until when what it signs is believed."""

    signer: KeySigner = field(repr=False)
    validity: Validity

    @classmethod
    def new(cls, now: datetime, lifetime: timedelta = KEY_LIFETIME) -> "SigningKey":
        """Make one."""
        begins = now.replace(microsecond=0)
        return cls(KeySigner.generate(), Validity(begins - BACKDATE, begins + lifetime))

    @property
    def key_id(self) -> str:
        """What it is known by."""
        return key_id(self.signer.public_key())


def tended(
    keys: Sequence[SigningKey],
    now: datetime,
    make: Callable[[datetime], SigningKey] = SigningKey.new,
    *,
    early: bool = False,
) -> tuple[SigningKey, ...]:
    """*keys* without those that are over, oldest first; with one more when the newest is due.

    With *early* there is one more now, unless one waits already for its turn to sign. One that has not begun
    was made while the clock was wrong, and would live for as long as that was.
    """
    alive = tuple(k for k in keys if k.validity.not_before <= now < k.validity.not_after + LEEWAY)
    newest = max((key.validity for key in alive), key=lambda v: v.not_before, default=None)
    if newest is None or due(now, newest, _HALF):
        return (*alive, make(now))
    nobody_waits = signing(alive, now) is alive[-1]
    return (*alive, make(now)) if early and nobody_waits else alive


def renew_at(key: SigningKey) -> datetime:
    """When the key after *key* is made, if that is the newest."""
    return rotation.renew_at(key.validity, _HALF)


def signing(keys: Sequence[SigningKey], now: datetime, lifetime: timedelta = LIFETIME) -> SigningKey | None:
    """The key to sign with: the oldest that lives as long as what it signs; None if there is no such key."""
    long_enough = [key for key in keys if now + lifetime <= key.validity.not_after]
    return min(long_enough, key=lambda key: key.validity.not_before, default=None)
