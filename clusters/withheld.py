"""A withdrawal that is doubted: most of a cluster's services are gone from its source, and nobody said why.

Only a withdrawal that is *inferred* is doubted: by comparing what a source says with what it said before this
agent ran, or from a source that is empty all of a sudden. What is taken away from a source while it is
followed is meant, and acts at once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from clusters.errors import InvalidValue

FLOOR: Final = 5
"""Fewer services than these may go unasked, whatever part of all they are."""
SHOWN: Final = 20


def is_doubtful(gone: int, known: int) -> bool:
    """Whether it is to be asked about that *gone* of *known* services are not there any more."""
    return gone >= FLOOR and 2 * gone > known


@dataclass(frozen=True, slots=True)
class Withheld:
    """What *cluster* goes on to offer though its source does not say so any more: how many *services*.

    It is believed at *until* unless somebody accepts it before, by its *since*. *names* are the first few.
    """

    cluster: str
    since: datetime
    until: datetime
    services: int
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) > SHOWN or any(len(name) > 200 for name in self.names):
            raise InvalidValue("withdrawal", self.cluster, f"want at most {SHOWN} names of services")
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise InvalidValue("withdrawal", self.cluster, "want times with a time zone")
