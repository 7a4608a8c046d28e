"""What everybody is told of the hubs that run: pure, and the same at every hub.

So an agent that goes from one hub to another is told nothing again that has not changed.
"""

from collections.abc import Sequence
from dataclasses import replace

from clusters.model import Federation
from federation.registry.records import HubRecord


def at_hubs(federation: Federation | None, hubs: Sequence[HubRecord]) -> Federation | None:
    """*federation* with the addresses of *hubs*; while one root follows another, all of them see proofs."""
    if federation is None or not hubs:
        return federation
    join = tuple(dict.fromkeys(address for hub in hubs for address in hub.join))
    sync = tuple(dict.fromkeys(address for hub in hubs for address in hub.sync))
    return replace(federation, join=join, sync=sync, prove_at=join if federation.prove_at else ())
