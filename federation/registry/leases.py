"""How long each lease still lives: pure, told the time.

Time in which the store itself stood still (a stopped process, a suspended machine) counts against
nobody: whoever could not reach us then must not be dead when we come back.
"""

from dataclasses import dataclass

from federation.errors import LeaseNotFound
from federation.registry.store import LeaseId

STALL = 2.0
"""Seconds without a look at the clock, beyond which it was we who stood still."""


@dataclass(slots=True)
class _Life:
    ttl: float
    deadline: float


class Leases:
    """The leases of a store and their deadlines, on a clock that never jumps."""

    def __init__(self, now: float) -> None:
        self._lives: dict[LeaseId, _Life] = {}
        self._looked = now

    def add(self, lease: LeaseId, ttl: float, now: float) -> None:
        """Start a lease's time."""
        self._lives[lease] = _Life(ttl, now + ttl)

    def renew(self, lease: LeaseId, now: float) -> None:
        """Start a lease's time afresh."""
        life = self._lives.get(lease)
        if life is None:
            raise LeaseNotFound(lease)
        life.deadline = now + life.ttl

    def remove(self, lease: LeaseId) -> None:
        """Forget a lease; one that is not there was forgotten before."""
        self._lives.pop(lease, None)

    def take_overdue(self, now: float) -> list[LeaseId]:
        """Remove and return the leases that have run out. Ask often: a long silence is a stall of ours."""
        stalled = now - self._looked
        self._looked = now
        if stalled > STALL:
            for life in self._lives.values():
                life.deadline = min(life.deadline + stalled, now + life.ttl)
        ended = [lease for lease, life in self._lives.items() if now >= life.deadline]
        for lease in ended:
            del self._lives[lease]
        return ended
