"""Waiting until gateways have let go of a cluster that was shut out, by what they say of their probes.

A gateway that calls others probes them for as long as its Envoy has a way there, and says so every second.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from clusters.model import ClusterName
from federation.probing import Probing
from federation.registry.clusterset import Clusterset

_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Holder:
    """A gateway that had a way to the cluster; `reason` says why it may have it still, if so."""

    cluster: ClusterName
    gateway: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """Who had a way to a cluster when it was shut out, and which members could not hear of it."""

    name: ClusterName
    holders: frozenset[tuple[ClusterName, str]]
    away: tuple[ClusterName, ...]

    @classmethod
    def before(cls, name: ClusterName, probing: Probing, clusterset: Clusterset) -> "Watched":
        """Note who has a way to *name* now."""
        others = [other for other in clusterset.clusters if other != name]
        away = tuple(other for other in others if not clusterset.connected(other))
        return cls(name, _holding(probing, name), away)

    async def let_go(self, probing: Probing, seconds: float) -> list[Holder]:
        """Wait until all that can be heard of have let go, *seconds* at most; gives how each stands then."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        heard = frozenset(holder for holder in self.holders if holder[0] not in self.away)
        while (left := heard & _holding(probing, self.name)) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        why = dict.fromkeys(self.holders - heard, "its agent is not connected to the hub")
        why |= dict.fromkeys(left, "it has not said so yet")
        return [Holder(*holder, why.get(holder, "")) for holder in sorted(self.holders)]


def _holding(probing: Probing, name: ClusterName) -> frozenset[tuple[ClusterName, str]]:
    """The gateways that say that they probe those of *name*."""
    return frozenset((seen.by, seen.gateway) for seen in probing.of(name))
