"""When to renew a certificate: decisions only, no clocks and no disks.

A certificate is renewed at about half of its validity, so that as much time again is left to get it done.
A decision depends on nothing but its arguments: a missed tick is caught up by the next one.

An issuing CA has a successor for a while. It is asked for when the active one is due, takes its place when
everybody has acknowledged it as an anchor, and the one before is retired when nothing that it signed is
valid any more. Who does not acknowledge is waited for until the last call, and no longer.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

_EARLIEST: Final = 0.45
_SPREAD: Final = 0.1
_LATE: Final = 0.75
_LAST_CALL: Final = 0.95


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
    """Whether it is time to renew; it stays so until it is done, also after the end.

    What is not valid yet is due too: it was made while somebody's clock was ahead, and is of no use now.
    """
    return now >= renew_at(validity, jitter) or now < validity.not_before


def jitter_of(certificate: x509.Certificate) -> float:
    """A jitter that stays the same for as long as the certificate does, whoever asks, and however often."""
    return int.from_bytes(certificate.fingerprint(hashes.SHA256())[:4]) / (1 << 32)


class Step(StrEnum):
    """The one thing to do next about an issuing CA."""

    WAIT = "wait"
    ASK = "ask"
    HOLD = "hold"
    """There is a successor; not everybody has acknowledged it."""
    SWITCH = "switch"


def next_step(
    now: datetime, active: Validity, jitter: float, successor: Validity | None, *, acknowledged: bool
) -> Step:
    """Decide what the owner of the *active* issuing CA does at *now*.

    *acknowledged* says whether everybody has the *successor* for an anchor. A successor that is not valid
    (its owner slept for too long, or some clock was wrong when it was made) is none.
    """
    if successor is None or not successor.covers(now):
        return Step.ASK if due(now, active, jitter) else Step.WAIT
    return Step.SWITCH if acknowledged or last_call(now, active) else Step.HOLD


def late(now: datetime, validity: Validity) -> bool:
    """Whether it should have been renewed long ago, and somebody had better look why it was not."""
    return validity.elapsed(now) >= _LATE or now < validity.not_before


def last_call(now: datetime, active: Validity) -> bool:
    """Whether so little is left of *active* that nobody is waited for any more.

    As late as it can be: whoever has not acknowledged the successor by then is cut off when it signs, and an
    old one that is still good cuts off nobody. What it signs meanwhile ends with it.
    """
    return active.elapsed(now) >= _LAST_CALL or now < active.not_before
