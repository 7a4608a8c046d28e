"""When to renew a certificate: decisions only, no clocks and no disks.

A certificate is renewed at about half of its validity, so that as much time again is left to get it done.
A decision depends on nothing but its arguments: a missed tick is caught up by the next one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

_EARLIEST: Final = 0.45
_SPREAD: Final = 0.1


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when something is valid."""

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if self.not_after <= self.not_before:
            raise ValueError(f"validity ends at {self.not_after}, before it begins at {self.not_before}")

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "Validity":
        """The validity that *certificate* states."""
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc)

    def covers(self, now: datetime) -> bool:
        """Whether it is valid at *now*."""
        return self.not_before <= now < self.not_after

    def elapsed(self, now: datetime) -> float:
        """How much of it has passed: 0 at its beginning, 1 at its end."""
        return (now - self.not_before) / (self.not_after - self.not_before)


def renew_at(validity: Validity, jitter: float) -> datetime:
    """The moment at which to renew.

    *jitter* in [0, 1) is drawn once for each certificate: it spreads renewals between 45 and 55 % of the
    validity, so that what was issued together is not renewed together.
    """
    return validity.not_before + (validity.not_after - validity.not_before) * (_EARLIEST + _SPREAD * jitter)


def due(now: datetime, validity: Validity, jitter: float) -> bool:
    """Whether it is time to renew; it stays so until it is done, also after the end."""
    return now >= renew_at(validity, jitter)
