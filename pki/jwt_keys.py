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
    keys: Sequence[SigningKey], now: datetime, make: Callable[[datetime], SigningKey] = SigningKey.new
) -> tuple[SigningKey, ...]:
    """*keys* without those that are over, oldest first; with one more when the newest is due.

    One that has not begun was made while the clock was wrong, and would live for as long as that was.
    """
    alive = tuple(k for k in keys if k.validity.not_before <= now < k.validity.not_after + LEEWAY)
    newest = max((key.validity for key in alive), key=lambda v: v.not_before, default=None)
    return (*alive, make(now)) if newest is None or due(now, newest, _HALF) else alive


def signing(keys: Sequence[SigningKey], now: datetime, lifetime: timedelta = LIFETIME) -> SigningKey | None:
    """The key to sign with: the oldest that lives as long as what it signs; None if there is no such key."""
    long_enough = [key for key in keys if now + lifetime <= key.validity.not_after]
    return min(long_enough, key=lambda key: key.validity.not_before, default=None)
