"""Where an agent finds hubs: all that the federation has said run, and those it was told of as it joined."""

from collections.abc import Callable, Iterable

from clusters.identity import Membership
from clusters.model import Federation


class Whereabouts:
    """The hubs' addresses by what *federation* says now, and by what *membership* has said first.

    The last view is on disk, so a hub that was added later is known also to an agent that starts without one.
    """

    def __init__(self, federation: Callable[[], Federation], membership: Callable[[], Membership]) -> None:
        self._federation = federation
        self._membership = membership

    def sync(self) -> tuple[str, ...]:
        """Where streams go."""
        return each_once(self._federation().sync, self._membership().sync)

    def join(self) -> tuple[str, ...]:
        """Where clusters join, and are let in again."""
        return each_once(self._federation().join, self._membership().join)


def each_once(*lists: Iterable[str]) -> tuple[str, ...]:
    """All addresses of *lists* in their order, none twice."""
    return tuple(dict.fromkeys(address for addresses in lists for address in addresses))
