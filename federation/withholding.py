"""The agent's doubt of its own source: services that are gone by inference go on to be offered for a while.

They keep the endpoints that they had last. What the source says of all others counts at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from clusters.model import Offer
from clusters.names import ServiceName
from clusters.withheld import SHOWN, Withheld, is_doubtful
from federation.log import Log
from federation.sync import records
from gateway.delta import Catalogue

log = Log(__name__)

TICK: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Held:
    names: frozenset[ServiceName]
    since: datetime


class Withholding:
    """What *home* withholds, as the hub hears of it in *published*; each is believed after *hold*."""

    def __init__(self, home: str, hold: timedelta, published: Catalogue, now: Callable[[], datetime]) -> None:
        self._home = home
        self._hold = hold
        self._published = published
        self._now = now
        self._held: _Held | None = None
        self._followed = False

    @property
    def told(self) -> Withheld | None:
        """What is withheld now."""
        if self._held is None:
            return None
        names = sorted(map(str, self._held.names))
        until = self._held.since + self._hold
        return Withheld(self._home, self._held.since, until, len(names), tuple(names[:SHOWN]))

    def take(self, known: Offer, said: Offer) -> Offer:
        """What to offer when the source says *said*, and *known* was offered until now.

        A source that says of no service at all is taken for one that is lost: all stays as it was.
        """
        gone = known.services.keys() - said.services.keys()
        inferred = not self._followed or not said.services
        self._followed = True
        if self._held is not None:
            self._hold_back(self._held.names & gone, self._held.since)
        if self._held is None and inferred and self._hold and is_doubtful(len(gone), len(known.services)):
            self._hold_back(frozenset(gone), self._now())
            log.warning("withdrawal doubted", services=len(gone), of=len(known.services))
        if self._held is None:
            return said
        if not said.services:
            return known
        kept = {name: service for name, service in known.services.items() if name in self._held.names}
        return replace(said, services={**said.services, **kept})

    def ends(self, accepted: datetime | None) -> bool:
        """Whether what is withheld is to be believed now: its time is over, or *accepted* is its own.

        Then nothing is withheld any more, and what the source says counts.
        """
        if self._held is None:
            return False
        if accepted != self._held.since and self._now() < self._held.since + self._hold:
            return False
        log.warning("withdrawal believed", services=len(self._held.names), accepted=accepted is not None)
        self._hold_back(frozenset(), self._held.since)
        return True

    def _hold_back(self, names: frozenset[ServiceName], since: datetime) -> None:
        self._held = _Held(names, since) if names else None
        told = self.told
        encoded = records.encode(told) if told else None
        self._published.replace(records.WITHHELD, {encoded.name: encoded} if encoded else {})
