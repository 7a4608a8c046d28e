"""What the hub's admin API needs of the hub."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from federation.anchoring import Anchoring
from federation.api.rotate import Rotate
from federation.audit import Audit
from federation.hub_authority import HubAuthority
from federation.probing import Probing
from federation.registry.clusterset import Clusterset
from federation.registry.registry import Registry
from federation.trust.follower import Follower


@dataclass(frozen=True, slots=True)
class Hub:
    """What this face needs of the hub; *addresses* are those that a token sends newcomers to."""

    authority: HubAuthority
    registry: Registry
    clusterset: Clusterset
    probing: Probing
    anchoring: Anchoring
    addresses: Callable[[], tuple[str, ...]]
    now: Callable[[], datetime]
    rotate: Rotate
    audit: Audit
    follower: Follower

    def ready(self) -> bool:
        """Whether the registry has been read."""
        return self.clusterset.federation is not None
