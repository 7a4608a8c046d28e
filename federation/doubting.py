"""The agent's doubt of its hub: most services are gone from what the hub knows when we come back to it.

Such a hub may have been restored from an old backup, and will hear of them again from those who offer them.
So they stay known here until the hub tells of them again, or some time has passed. Services only: a cluster
that is gone may have been shut out, and nobody's certificates are believed on a doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from clusters.withheld import is_doubtful
from federation.log import Log
from federation.sync.client import LinkState

log = Log(__name__)

_COMPARED_WITHIN: Final = timedelta(seconds=5)
"""So soon after connecting the hub tells what is not there any more; what goes later was taken away."""


@dataclass(slots=True)
class Doubting:
    """What stays known though the hub does not know it: for *hold* at most."""

    hold: timedelta
    names: set[str] = field(default_factory=set)
    since: datetime | None = None

    def sift(
        self, changes: Mapping[str, bytes | None], known: int, link: LinkState, now: datetime
    ) -> Mapping[str, bytes | None]:
        """*changes*, when so many services are *known*, without the deletions that are not believed."""
        self.names.difference_update(changes)
        gone = {name for name, body in changes.items() if body is None}
        compared = now - link.since < _COMPARED_WITHIN
        if not self.hold or not compared or not is_doubtful(len(gone), known):
            return changes
        log.warning("hub doubted", services=len(gone), of=known)
        self.names |= gone
        self.since = now
        return {name: body for name, body in changes.items() if name not in gone}

    def over(self, now: datetime) -> set[str]:
        """What is not to be known any more: the hub had its time to tell of it."""
        if self.since is None or now - self.since < self.hold:
            return set()
        ended, self.names, self.since = self.names, set(), None
        return ended
