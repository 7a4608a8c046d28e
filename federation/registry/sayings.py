"""What clusters say of themselves and of others, and change seldom: written down, so that all hubs know it.

Which gateways of others a cluster's gateways reach (`Probes`), which issuing CAs these have acknowledged
(`Anchors`), which roots its agent trusts (`Trust`).
"""

from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote

from clusters.names import ClusterName
from clusters.reports import Anchors, Probes
from clusters.trust import Trust
from federation.errors import ChangesRejected, UnknownCluster
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.ledger import Ledger, Plan, slices
from federation.registry.records import ClusterRecord, ClusterState
from federation.registry.store import MAX_BYTES, MAX_OPERATIONS

Saying: TypeAlias = Probes | Anchors | Trust
S = TypeVar("S", Probes, Anchors, Trust)

KINDS: Final[Mapping[str, type[Saying]]] = {"probes": Probes, "anchors": Anchors, "trust": Trust}
LARGEST: Final = MAX_BYTES // 2
"""The most bytes that one of them may have, written down."""

_NAMES: Final[Mapping[type[Saying], str]] = {kind: name for name, kind in KINDS.items()}


class Sayings:
    """The sayings of the registry."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def of(self, cluster: ClusterName, kind: type[S]) -> list[S]:
        """What *cluster* has said of that *kind*."""
        held = await self._ledger.list(_prefix(cluster, kind), kind)
        return [one.record for one in held if one.record]

    async def say(
        self, cluster: ClusterName, kind: type[S], changed: Mapping[str, S | None], most: int
    ) -> None:
        """Write down what *cluster* says; None for what it says no more.

        ChangesRejected for more than *most* records, or one that is too large: then nothing is written down.
        """
        prefix = _prefix(cluster, kind)
        keys = {f"{prefix}{quote(name, safe='')}": record for name, record in changed.items()}
        sizes = [len(encode(record)) for record in keys.values() if record]
        if max(sizes, default=0) > LARGEST:
            raise ChangesRejected(f"{cluster} says more than {LARGEST} bytes at once")
        held = {one.key for one in await self._ledger.list(prefix, kind)}
        left = (held | keys.keys()) - {key for key, record in keys.items() if record is None}
        if len(left) > most:
            raise ChangesRejected(f"{cluster} tells of more than {most} gateways")
        at_once = MAX_OPERATIONS - 2 if sum(sizes) < LARGEST else 1
        for some in slices(keys.items(), at_once):
            await self._write(cluster, kind, dict(some))

    async def _write(self, cluster: ClusterName, kind: type[S], changed: Mapping[str, S | None]) -> None:
        async def plan() -> Plan[None]:
            member = await self._ledger.read(keyspace.cluster(cluster), ClusterRecord)
            if member.record is None or member.record.state is not ClusterState.ACTIVE:
                raise UnknownCluster(cluster)
            held = await self._ledger.read_many(list(changed), kind)
            different = [(held[key], record) for key, record in changed.items() if held[key].record != record]
            operations = [one.put(record) if record else one.delete() for one, record in different]
            return Plan(None, operations, [member.unchanged])

        await self._ledger.transact(f"sayings of cluster {cluster}", plan)


def _prefix(cluster: ClusterName, kind: type[Saying]) -> str:
    return f"{keyspace.said(cluster)}{_NAMES[kind]}/"
