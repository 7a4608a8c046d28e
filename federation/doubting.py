"""The agent's doubt of its hub: most services are gone from what the hub knows when we come back to it.

Such a hub may have been restored from an old backup, and will hear of them again from those who offer them.
So they stay known here until the hub tells of them again, or some time has passed. What differs is told in as
many messages as it takes: nothing that is gone is believed before they have come to rest, and all of it is
judged at once. Services only: a cluster that is gone may have been shut out, and nobody's certificates are
believed on a doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from clusters.withheld import is_doubtful
from federation.log import Log
from federation.sync.client import LinkState

log = Log(__name__)

_RESTS: Final = timedelta(seconds=5)
"""When the hub has told nothing for so long after connecting, it has told what is not there any more."""
_LONGEST: Final = timedelta(seconds=15)
"""A hub that has much to tell is at rest so long after connecting; what goes later was taken away."""


@dataclass(slots=True)
class _Connection:
    """When it began, how many services were known then, when the hub told last, and whether it is doubted."""

    began: datetime
    known: int
    heard: datetime
    doubted: bool = False

    @property
    def ends(self) -> datetime:
        """From when on what goes was taken away."""
        return min(self.heard + _RESTS, self.began + _LONGEST)


@dataclass(slots=True)
class Doubting:
    """What stays known though the hub does not know it: for *hold* at most."""

    hold: timedelta
    names: set[str] = field(default_factory=set)
    since: datetime | None = None
    _gone: set[str] = field(default_factory=set)
    _connection: _Connection | None = None

    def sift(
        self, changes: Mapping[str, bytes | None], known: int, link: LinkState, now: datetime
    ) -> Mapping[str, bytes | None]:
        """*changes*, when so many services are *known*, without the deletions that are not believed yet."""
        self.names.difference_update(changes)
        self._gone.difference_update(changes)
        connection = self._follow(link, known)
        if not self.hold or now >= connection.ends or not is_doubtful(connection.known, connection.known):
            return changes
        connection.heard = now
        gone = {name for name, body in changes.items() if body is None}
        self._gone |= gone
        if connection.doubted or is_doubtful(len(self._gone), connection.known):
            self._doubt(connection, now)
        return {name: body for name, body in changes.items() if name not in gone}

    def over(self, link: LinkState, now: datetime) -> set[str]:
        """What is not to be known any more: few were gone, or the hub had its time to tell of it."""
        ended: set[str] = set()
        known = self._connection.known if self._connection else 0
        if self._gone and link.connected and now >= self._follow(link, known).ends:
            ended, self._gone = self._gone, set()
        if self.since is not None and now - self.since >= self.hold:
            ended, self.names, self.since = ended | self.names, set(), None
        return ended

    def _follow(self, link: LinkState, known: int) -> _Connection:
        """What there is to remember of this connection; what an earlier one left open is judged with it."""
        if self._connection is None or self._connection.began != link.since:
            self._connection = _Connection(link.since, known, link.since)
        return self._connection

    def _doubt(self, connection: _Connection, now: datetime) -> None:
        if not self._gone:
            return
        log.warning("hub doubted", services=len(self._gone), of=connection.known)
        self.names |= self._gone
        self._gone = set()
        self.since = now
        connection.doubted = True
