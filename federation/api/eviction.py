"""Waiting until gateways have let go of a cluster that was shut out, by what is said of them.

A gateway that calls others probes them for as long as its Envoy has a way there, and says so every second.
Of one that is called its agent says whose issuing CAs it has, until it has confirmed that it has not.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from clusters.names import ClusterName
from federation.anchoring import Anchoring
from federation.probing import Probing
from federation.registry.clusterset import Clusterset

_POLL: Final = 0.02

Holders: TypeAlias = frozenset[tuple[ClusterName, str]]
"""Gateways, by cluster and name. One name in two roles counts once."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A gateway that had to do with the cluster; `reason` says why it may have that still, if so."""

    cluster: ClusterName
    gateway: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """Who had to do with a cluster when it was shut out, and which members could not hear of it."""

    name: ClusterName
    holders: Holders
    away: tuple[ClusterName, ...]

    @classmethod
    def before(cls, name: ClusterName, holders: Holders, clusterset: Clusterset) -> "Watched":
        """Note that *holders* have to do with *name* now."""
        others = [other for other in clusterset.clusters if other != name]
        away = tuple(other for other in others if not clusterset.connected(other))
        return cls(name, holders, away)

    async def let_go(self, holding: Callable[[], Holders], seconds: float) -> list[Holder]:
        """Wait until all that can be heard of have let go, *seconds* at most; gives how each stands then.

        *holding* says who has not.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        heard = frozenset(holder for holder in self.holders if holder[0] not in self.away)
        while (left := heard & holding()) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        why = dict.fromkeys(self.holders - heard, "its agent is not connected to the hub")
        why |= dict.fromkeys(left, "it has not said so yet")
        return [Holder(*holder, why.get(holder, "")) for holder in sorted(self.holders)]


def holders(probing: Probing, anchoring: Anchoring, name: ClusterName) -> Holders:
    """The gateways that say that they probe those of *name*, or may let them in."""
    return frozenset((seen.by, seen.gateway) for seen in probing.of(name)) | {*anchoring.holders(name)}
