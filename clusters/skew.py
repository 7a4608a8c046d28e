"""Two clocks that must agree: how far apart they may be, and how to say so."""

from typing import Final

from clusters.admission import SKEW_REFUSED, SKEW_WARNED, Refusal
from clusters.errors import JoinRefused

_REMEDY: Final = "set the clock of whichever is wrong, best by NTP"


def refuse_skew(seconds: float, noun: str) -> None:
    """Refuse a clock that is so far ahead of the *noun*'s, or behind it, that certificates would fail."""
    if abs(seconds) > SKEW_REFUSED:
        reason = f"{_apart(seconds, noun)}, and more than {SKEW_REFUSED:.0f} s make certificates fail"
        raise JoinRefused(Refusal.CLOCK_SKEW, reason, _REMEDY)


def skew_warning(seconds: float, noun: str) -> str:
    """A sentence on clocks that differ by more than they should, or nothing."""
    if abs(seconds) <= SKEW_WARNED:
        return ""
    return f"{_apart(seconds, noun)}; above {SKEW_REFUSED:.0f} s certificates begin to fail"


def _apart(seconds: float, noun: str) -> str:
    direction = "ahead of" if seconds > 0 else "behind"
    return f"this machine's clock is {abs(seconds):.1f} s {direction} the {noun}'s"
