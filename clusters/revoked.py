"""A cluster's revoked workloads as the other members know them: by namespace and name.

The trust domain is not said: it is that of the cluster that tells. So nobody can speak for another's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from clusters.errors import InvalidValue
from pki.errors import InvalidSpiffeId
from pki.spiffe import SpiffeId, workload_id

MAX_REVOKED: Final = 1000
"""How many workloads of a cluster may be revoked at a time: every new call is held against all of them."""

_LONGEST: Final = 512


@dataclass(frozen=True, slots=True)
class Revoked:
    """The workloads of *cluster* that are nobody until that is undone, each as `NAMESPACE/NAME`."""

    cluster: str
    workloads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self.cluster, self.workloads)


def name_of(spiffe_id: SpiffeId) -> str:
    """What *spiffe_id*, a workload's, is called among the revoked of its cluster."""
    _, _, namespace, _, name = spiffe_id.path.split("/")
    return f"{namespace}/{name}"


def ids(trust_domain: str, workloads: Iterable[str]) -> Iterator[SpiffeId]:
    """The IDs of *workloads* in *trust_domain*."""
    for workload in workloads:
        namespace, _, name = workload.partition("/")
        yield workload_id(trust_domain, namespace, name)


def check(cluster: str, workloads: tuple[str, ...]) -> None:
    """Refuse what are no workloads of *cluster*, or too many; InvalidValue says which."""
    if len(workloads) > MAX_REVOKED:
        raise InvalidValue("cluster", cluster, f"has more than {MAX_REVOKED} revoked workloads")
    for workload in workloads:
        if workload.count("/") != 1 or len(workload) > _LONGEST:
            raise InvalidValue("revoked workload", workload[:_LONGEST], "want NAMESPACE/NAME")
        try:
            SpiffeId("any", f"/{workload}")
        except InvalidSpiffeId as error:
            raise InvalidValue("revoked workload", workload, error.reason) from error
