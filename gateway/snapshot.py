"""A gateway's whole configuration at one moment: immutable, comparable, and able to check itself.

It is kept in parts, one for each service and a few for what all share, so that the parts of services that did
not change are taken over as they are, and the difference between two snapshots costs no more than what
differs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from clusters.carriage import Carriage
from clusters.changes import touched
from clusters.model import ClusterView
from clusters.names import ServiceName
from gateway.delta import Resource
from gateway.errors import DanglingReference
from gateway.kinds import SHORT
from gateway.spec import GatewaySpec
from gateway.view import Way

K = TypeVar("K")
Resources: TypeAlias = Mapping[str, Mapping[str, Resource]]
Changes: TypeAlias = Mapping[str, Mapping[str, Resource | None]]


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """*kind* resource *name* must exist, because *owner* names it."""

    kind: str
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one service, or something that all services share, adds to a gateway.

    Three things are for parts that are shared to put together: `vips`, the ports and addresses that the
    service is called on and how each is carried, `ways`, by which its clusters are reached, and `routes`,
    its virtual hosts, serialized.
    """

    resources: tuple[tuple[str, Resource], ...] = ()
    references: tuple[Reference, ...] = ()
    vips: tuple[tuple[int, str, Carriage], ...] = ()
    routes: tuple[bytes, ...] = ()
    ways: frozenset[Way] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a gateway is to have, and the view that it was made of.

    Compares by what the gateway sees: two snapshots with the same resources are equal.
    """

    spec: GatewaySpec
    view: ClusterView = field(compare=False)
    shared: Mapping[str, Part]
    services: Mapping[ServiceName, Part]
    # How many services take each way: kept, so that a change need not ask all of them.
    taken: Mapping[Way, int] = field(default_factory=dict, compare=False)

    @classmethod
    def empty(cls, spec: GatewaySpec, view: ClusterView) -> "Snapshot":
        """What a gateway has before it was told anything."""
        return cls(spec, view, {}, {})

    def resources(self) -> Resources:
        """Every resource by kind and name; each kind is there, if only empty."""
        table: dict[str, dict[str, Resource]] = {kind: {} for kind in SHORT}
        for part in self._parts():
            for kind, resource in part.resources:
                table[kind][resource.name] = resource
        return table

    def changes_since(self, before: "Snapshot") -> Changes:
        """What turns *before* into this one: newer resources, and None for those that are gone."""
        return changes([*differing(before.shared, self.shared), *differing(before.services, self.services)])

    def check(self) -> None:
        """Raise DanglingReference if something is named that is not there."""
        there = {(kind, r.name) for part in self._parts() for kind, r in part.resources}
        for part in self._parts():
            for reference in part.references:
                if (reference.kind, reference.name) not in there:
                    raise DanglingReference(reference.owner, SHORT[reference.kind], reference.name)

    def _parts(self) -> Iterator[Part]:
        yield from self.shared.values()
        yield from self.services.values()


def differing(before: Mapping[K, Part], after: Mapping[K, Part]) -> Iterator[tuple[Part, Part]]:
    """The parts that are not the same object in both, with an empty one where there is none."""
    nothing = Part()
    for name in touched(before, after):
        yield before.get(name, nothing), after.get(name, nothing)


def changes(pairs: Sequence[tuple[Part, Part]]) -> Changes:
    """What turns the first of each of *pairs*, all together, into the second."""
    found: dict[str, dict[str, Resource | None]] = {}
    for old, _ in pairs:
        for kind, resource in old.resources:
            found.setdefault(kind, {})[resource.name] = None
    kept = {(kind, r.name): r.version for old, _ in pairs for kind, r in old.resources}
    for _, new in pairs:
        for kind, resource in new.resources:
            # A name may move from one service's part to another's: what is there now counts.
            if kept.get((kind, resource.name)) == resource.version:
                found[kind].pop(resource.name, None)
            else:
                found.setdefault(kind, {})[resource.name] = resource
    return {kind: names for kind, names in found.items() if names}
