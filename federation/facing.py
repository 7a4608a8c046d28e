"""What one cluster is told: what all are, of services only what is for it, and verdicts on its own."""

from collections.abc import Callable, Mapping, Set
from typing import Final

from clusters.errors import ClusterError
from clusters.names import ClusterName, ServiceName
from clusters.verdict import Published
from federation.registry.clusterset import Change, Clusterset
from federation.registry.outlook import exporters_for, import_of, verdict, verdicts
from federation.sync import records
from gateway.delta import Catalogue, Listener, Resource
from gateway.history import History

_OWN: Final = (records.IMPORT, records.VERDICT)

# Told of a change, and of the names of its services.
Follower = Callable[[Change, Set[str]], None]


class Faces:
    """What differs from cluster to cluster, made once for all that are told the same, of *shared*."""

    def __init__(self, clusterset: Clusterset, shared: Catalogue) -> None:
        self.clusterset = clusterset
        self.services = History(shared, records.IMPORT)
        self._followers: dict[ClusterName, dict[object, Follower]] = {}
        self._made: dict[ServiceName, dict[tuple[frozenset[ClusterName], ClusterName | None], Resource]] = {}

    def follow(self, change: Change) -> None:
        """Tell of *change* those clusters that may be told something else now."""
        for service in change.services:
            self._made.pop(service, None)
        concerned = self._followers if change.services or change.verdicts else change.clusters
        # One set for hundreds of clusters.
        services = frozenset(map(str, change.services))
        for follower in [each for home in concerned for each in self._followers.get(home, {}).values()]:
            follower(change, services)

    def listen(self, home: ClusterName, follower: Follower) -> Callable[[], None]:
        """Tell *follower* of each change that may concern *home*, until what is returned is called."""
        key = object()
        self._followers.setdefault(home, {})[key] = follower

        def stop() -> None:
            of_home = self._followers.get(home, {})
            of_home.pop(key, None)
            if not of_home:
                self._followers.pop(home, None)

        return stop

    def imported(self, home: ClusterName, service: ServiceName, shared: Resource) -> Resource | None:
        """*service* as *home* is to have it; *shared* is how all have it for whom all of it is."""
        exporters = exporters_for(self.clusterset, home, service)
        if len(exporters) == len(self.clusterset.exporters(service)):
            return shared
        # Exporters are told of more conflicts than others, all of them of the same.
        key = exporters, home if home in exporters else None
        made = self._made.setdefault(service, {})
        if exporters and key not in made:
            imported = import_of(self.clusterset, service, exporters, home)
            if imported is not None:
                made[key] = records.encode(imported)
        return made.get(key)


class Facing:
    """The catalogue that *home*'s agent reads: *shared* is what all are told."""

    def __init__(self, home: ClusterName, shared: Catalogue, faces: Faces) -> None:
        self._home = home
        self._shared = shared
        self._faces = faces
        self._told: set[str] = set()

    def get(self, kind: str, name: str) -> Resource | None:
        """The resource, if there is one for it."""
        if kind == records.VERDICT:
            return self._verdict(name)
        found = self._shared.get(kind, name)
        if found is None or kind != records.IMPORT or not self._restricted:
            return found
        return self._faces.imported(self._home, ServiceName.parse(name), found)

    def names(self, kind: str) -> Set[str]:
        """The names of all of *kind* that is for it."""
        if kind == records.VERDICT:
            return {records.name_of(said) for said in verdicts(self._faces.clusterset, self._home)}
        names = self._shared.names(kind)
        if kind == records.IMPORT and self._restricted:
            return {name for name in names if self.get(kind, name)}
        return names

    def versions(self, kind: str) -> Mapping[str, str]:
        """The version of each resource of a *kind* that all are told alike, or were until just now."""
        return self._shared.versions(kind)

    def version(self, kind: str, name: str) -> str | None:
        """The version of the resource, if there is one for it."""
        found = self.get(kind, name)
        return found.version if found else None

    def steady(self, kind: str) -> bool:
        """Whether it will be known after the next change of *kind* what was before: of what all are told."""
        return kind not in _OWN or (kind == records.IMPORT and not self._restricted)

    def former(self, kind: str, name: str) -> str | None:
        """The version that *name* had before the newest change; None if there was none.

        Of services only as long as all of them were for everybody: then it is what all had.
        """
        return self._shared.former(kind, name)

    def since(self, kind: str, digest: str) -> Mapping[str, str | None] | None:
        """What changed since everything had this *digest*; None if not known, or if not all is for it."""
        return self._faces.services.since(digest) if kind == records.IMPORT and self.steady(kind) else None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with (kind, names) of what may have changed, until what is returned is called."""

        def of_all(kind: str, names: Set[str]) -> None:
            if kind not in _OWN:
                listener(kind, names)

        def of_its_own(change: Change, services: Set[str]) -> None:
            if services:
                listener(records.IMPORT, services)
            if verdicts := self._touched(change, services):
                listener(records.VERDICT, verdicts)

        stops = self._shared.listen(of_all), self._faces.listen(self._home, of_its_own)

        def end() -> None:
            for stop in stops:
                stop()

        return end

    @property
    def _restricted(self) -> bool:
        """Whether some services are not for everybody."""
        return self._faces.clusterset.judge.restricts_callers

    def _verdict(self, name: str) -> Resource | None:
        of, _, about = name.partition("/")
        try:
            said = verdict(self._faces.clusterset, self._home, Published(of), about)
        except (ValueError, ClusterError):  # whoever comes back may say that he holds anything
            return None
        if said is None:
            self._told.discard(name)
            return None
        self._told.add(name)
        return records.encode(said)

    def _touched(self, change: Change, services: Set[str]) -> Set[str]:
        """The names of all verdicts that *change* may have changed."""
        if change.verdicts or self._home in change.clusters:
            return self._told | self.names(records.VERDICT)
        if not self._restricted:
            return set()
        return {f"{Published.SERVICE}/{service}" for service in services}
