"""What a load has seen: its calls, one by one, and what they come to. Pure; nothing here makes a call."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Killing(NamedTuple):
    """When something was first told to die, and when all of it was dead: until then it may take a call."""

    began: float
    dead: float


@dataclass(frozen=True, slots=True)
class Made:
    """One call of a load: when it began and ended by its caller's clock, and how it went.

    `opened` is when its connection was: as the call began, or before if it was one that had been kept.
    `failure` is empty when all was as it should be.
    """

    began: float
    ended: float
    opened: float
    protocol: str
    answered_by: str = ""
    failure: str = ""

    @property
    def kept(self) -> bool:
        """Whether it was made on a connection that was there already."""
        return self.opened < self.began

    def was_cut_by(self, killing: Killing, known_within: float) -> bool:
        """Whether it failed because it was under way to what *killing* ended.

        It was if its connection was: nobody moves an open connection elsewhere, and its caller can know that
        it leads nowhere only *known_within* so many seconds.
        """
        under_way = self.opened <= killing.dead and killing.began <= self.ended
        return bool(self.failure) and under_way and self.ended <= killing.dead + known_within

    @classmethod
    def parse(cls, line: str | bytes) -> "Made":
        """Undo `encode`; raises ValueError for anything else."""
        try:
            began, ended, opened, *words = json.loads(line)
            protocol, answered_by, failure = map(str, words)
            return cls(float(began), float(ended), float(opened), protocol, answered_by, failure)
        except TypeError as error:
            raise ValueError(f"not a call: {line!r}") from error

    def encode(self) -> str:
        """One line of JSON."""
        times = [round(moment, 6) for moment in (self.began, self.ended, self.opened)]
        return json.dumps([*times, self.protocol, self.answered_by, self.failure]) + "\n"


@dataclass(frozen=True, slots=True)
class Tally:
    """What the calls of one or several callers come to."""

    total: int
    failed: int
    new_connections: int
    longest_gap: float
    seconds: float
    failures: tuple[tuple[str, int], ...] = ()
    answered_by: tuple[tuple[str, int], ...] = ()

    @property
    def connections_per_second(self) -> float:
        """How many connections were opened in a second."""
        return self.new_connections / self.seconds if self.seconds else 0.0

    def document(self) -> dict[str, object]:
        """What the demo's JSON says of it."""
        return {
            "calls_total": self.total,
            "calls_failed": self.failed,
            "longest_gap_ms": round(self.longest_gap * 1000, 1),
            "connections_per_second": round(self.connections_per_second, 1),
            "failures": dict(self.failures),
            "answered_by": dict(self.answered_by),
        }


def tally(callers: Iterable[Sequence[Made]]) -> Tally:
    """Put the calls of all *callers* together.

    The gap is the longest that any one of them went without a call that succeeded, its beginning and its
    end included: another caller's luck does not shorten it.
    """
    each = [calls for calls in callers if calls]
    made = [call for calls in each for call in calls]
    if not made:
        return Tally(0, 0, 0, 0.0, 0.0)
    seconds = max(call.ended for call in made) - min(call.began for call in made)
    failures = Counter(f"{call.protocol}: {call.failure}" for call in made if call.failure)
    return Tally(
        len(made),
        sum(failures.values()),
        sum(not call.kept for call in made),
        max(map(_longest_gap, each)),
        seconds,
        tuple(failures.most_common()),
        tuple(sorted(Counter(call.answered_by for call in made if not call.failure).items())),
    )


def _longest_gap(calls: Sequence[Made]) -> float:
    first, last = min(call.began for call in calls), max(call.ended for call in calls)
    moments = [first, *sorted(call.ended for call in calls if not call.failure), last]
    return max(after - before for before, after in pairwise(moments))
