"""What becomes of calls to a cluster that nobody hears of: each export's contract, and the judgement. Pure.

There are two signals: whether the cluster's agent is connected to a hub, and whether our gateways reach its.

    agent       gateways' probe   then
    connected   any               calls are sent there; those that fail are the probes' business
    away        up                hold: for good; drain and fail-closed: until the bound
    away        down              out
    away        none possible     hold: until the bound; drain and fail-closed: out
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from clusters.durations import short
from clusters.errors import InvalidValue

LEAST = 1.0
MOST = 30 * 86400.0


class Policy(StrEnum):
    """What to do when a cluster is not heard of."""

    HOLD = "hold"
    DRAIN = "drain"
    FAIL_CLOSED = "fail-closed"


def bound(seconds: float) -> float:
    """Check that *seconds* can be a bound."""
    if not LEAST <= seconds <= MOST:
        raise InvalidValue("after", f"{seconds:g}s", "want 1s to 30d")
    return seconds


@dataclass(frozen=True, slots=True)
class Staleness:
    """The contract: *policy*, and the bound, *after* so many seconds of not being heard of."""

    policy: Policy = Policy.HOLD
    after: float = 3600.0

    def __post_init__(self) -> None:
        bound(self.after)


HELD: Final = Staleness()
"""What an export says that says nothing: nobody is taken out whose gateways can be reached."""


class Reach(StrEnum):
    """What our gateways find out about a cluster's: one of them lives, none does, or nobody can say."""

    UP = "up"
    DOWN = "down"
    UNPROBED = "unprobed"


def reached(up: Iterable[bool]) -> Reach:
    """What it comes to that some gateways are *up* and others are not: one that is reached is enough."""
    found = set(up)
    return Reach.UP if True in found else Reach.DOWN if found else Reach.UNPROBED


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether calls are sent there, and in a word and a line why.

    The state is `connected`, `held` while calls go on though the cluster is away, or `out`.
    """

    state: str
    reason: str = ""

    @property
    def is_out(self) -> bool:
        """Whether no new call is sent there."""
        return self.state == "out"


CONNECTED = Judgement("connected")


def judged(contract: Staleness, away: datetime | None, reach: Reach, now: datetime) -> Judgement:
    """What *contract* says of a cluster that is *away* since then, if it is, and how its gateways *reach*."""
    if away is None:
        return CONNECTED
    ends = away + timedelta(seconds=contract.after)
    told = f"its agent is away since {away:%H:%M:%S}, its gateways are {reach}"
    named = f"{contract.policy} {short(timedelta(seconds=contract.after))}"
    if reach is Reach.DOWN:
        return Judgement("out", told)
    if reach is Reach.UP and contract.policy is Policy.HOLD:
        return Judgement("held", f"{told} ({named})")
    if reach is Reach.UNPROBED and contract.policy is not Policy.HOLD:
        return Judgement("out", f"{told} ({named})")
    if now < ends:
        return Judgement("held", f"{told}; until {ends:%H:%M:%S} ({named})")
    return Judgement("out", f"{told}; {ends:%H:%M:%S} is over ({named})")
