"""What the hub says to a cluster of something that the cluster has published."""

from dataclasses import dataclass
from enum import StrEnum

from clusters.model import ClusterName


class Published(StrEnum):
    """What a verdict is about."""

    SERVICE = "service"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Verdict:
    """That a service or gateway is not passed on, or not to everybody.

    *name* is `NAMESPACE/NAME` of a service. `refused` says in one line why others do not hear of it, or of a
    part of it. `callers` are the clusters that may call the service: None for all of them.
    Of what everybody may have and call there is no verdict.
    """

    of: Published
    name: str
    refused: str = ""
    callers: tuple[ClusterName, ...] | None = None
