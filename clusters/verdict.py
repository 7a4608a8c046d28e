"""What the hub says to a cluster of something that the cluster has published."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from clusters.names import ClusterName


class Published(StrEnum):
    """What a verdict is about."""

    SERVICE = "service"
    GATEWAY = "gateway"


UNSAID: Final = "*/*"
"""Names the services of which nothing is said: so one that the hub has not heard of yet is open to nobody."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a service or gateway is passed on, and to whom.

    *name* is `NAMESPACE/NAME` of a service. `refused` says in one line why others do not hear of it, or of a
    part of it. `callers` are the clusters that may call the service: None for all of them.
    Without any verdict on services everybody may have and call all of them.
    """

    of: Published
    name: str
    refused: str = ""
    callers: tuple[ClusterName, ...] | None = None
