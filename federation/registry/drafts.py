"""The transaction that takes in what a cluster exports, from what the store says: pure.

A service's record holds its VIP index and its exporters together, so that of two clusters that
export or withdraw the same service at one time, one is the first and one is the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from clusters.model import Export
from clusters.names import ClusterName, ServiceName
from federation.errors import VipsExhausted
from federation.registry import keyspace, vips
from federation.registry.codec import encode
from federation.registry.ledger import Held, Plan
from federation.registry.records import ExportRecord, FreedIndex, NextIndex, ServiceRecord
from federation.registry.store import Compare, Delete, Operation, Put


@dataclass(frozen=True, slots=True)
class Known:
    """What the store says of the services that change, and which VIP indexes it has to give."""

    exports: Mapping[ServiceName, Held[ExportRecord]]
    services: Mapping[ServiceName, Held[ServiceRecord]]
    next_index: Held[NextIndex]
    freed: Sequence[Held[FreedIndex]] = ()


def draft(
    cluster: ClusterName,
    changed: Mapping[ServiceName, Export | None],
    known: Known,
    now: datetime,
    capacity: int,
) -> Plan[None]:
    """What to write so that *cluster* exports what *changed* says; `VipsExhausted` when there is no room."""
    return _Draft(cluster, known, set(changed), now, capacity).plan(changed)


class _Draft:
    """A transaction in the making."""

    def __init__(
        self, cluster: ClusterName, known: Known, concerned: set[ServiceName], now: datetime, capacity: int
    ) -> None:
        self._cluster = cluster
        self._known = known
        self._now = now
        self._capacity = capacity
        self._next = known.next_index.record.index if known.next_index.record else vips.FIRST
        # An index that waits for a service of this very transaction is not to be had.
        self._freed = {
            held.record: held for held in known.freed if held.record and held.record.service not in concerned
        }
        self._operations: list[Operation] = []
        self._when: list[Compare] = []

    def plan(self, changed: Mapping[ServiceName, Export | None]) -> Plan[None]:
        first = self._next
        for service, export in changed.items():
            if export is None:
                self._withdraw(service)
            else:
                self._export(service, export)
        if self._next != first:
            held = self._known.next_index
            self._write(held.put(NextIndex(self._next)), held.unchanged)
        return Plan(None, self._operations, self._when)

    def _export(self, service: ServiceName, export: Export) -> None:
        held = self._known.exports[service]
        record = ExportRecord(export, held.record.first_exported_at if held.record else self._now)
        if record != held.record:
            self._write(held.put(record), held.unchanged)
        place = self._known.services[service]
        if place.record is None:
            self._write(place.put(ServiceRecord(self._new_index(service), (self._cluster,))), place.unchanged)
        elif self._cluster not in place.record.exporters:
            exporters = (*place.record.exporters, self._cluster)
            self._write(place.put(replace(place.record, exporters=exporters)), place.unchanged)
            if not place.record.exporters:
                self._operations.append(Delete(keyspace.freed(place.record.index)))

    def _withdraw(self, service: ServiceName) -> None:
        held = self._known.exports[service]
        if held.record:
            self._write(held.delete(), held.unchanged)
        place = self._known.services[service]
        if place.record is None or self._cluster not in place.record.exporters:
            return
        exporters = tuple(other for other in place.record.exporters if other != self._cluster)
        self._write(place.put(replace(place.record, exporters=exporters)), place.unchanged)
        if not exporters:
            freed = FreedIndex(place.record.index, service, self._now)
            self._operations.append(Put(keyspace.freed(freed.index), encode(freed)))

    def _new_index(self, service: ServiceName) -> int:
        """Take an index for *service*; one that was another's takes that other's record away."""
        index = vips.choose(self._next, self._freed, self._now, self._capacity)
        if index is None:
            raise VipsExhausted(str(service), self._capacity)
        if index == self._next:
            self._next += 1
            return index
        freed = next(freed for freed in self._freed if freed.index == index)
        held = self._freed.pop(freed)
        self._write(held.delete(), held.unchanged)
        self._operations.append(Delete(keyspace.service(freed.service)))
        return index

    def _write(self, operation: Operation, when: Compare) -> None:
        self._operations.append(operation)
        self._when.append(when)
