"""What agents are told: one catalogue for all, of which each reads what is for it."""

import asyncio
from typing import Final

from clusters.names import ClusterName, ServiceName
from federation.errors import SyncRefused
from federation.facing import Faces, Facing
from federation.registry.clusterset import Change, Clusterset
from federation.registry.judge import Judge
from federation.registry.records import AliveRecord
from federation.sync import records
from federation.trust.bundles import bundle_of
from gateway.delta import Catalogue, Resource

_KNOWN_WITHIN: Final = 5.0


class Broadcast:
    """The catalogue that every agent reads, kept in step with the clusterset."""

    def __init__(self, clusterset: Clusterset) -> None:
        self._clusterset = clusterset
        self.catalogue = Catalogue()
        self._faces = Faces(clusterset, self.catalogue)
        self._heard_of: dict[ClusterName, asyncio.Event] = {}

    @property
    def judge(self) -> Judge:
        """Who decides what is for whom."""
        return self._clusterset.judge

    def facing(self, cluster: ClusterName) -> Facing:
        """The catalogue as *cluster* is to read it."""
        return Facing(cluster, self.catalogue, self._faces)

    def follow(self, change: Change) -> None:
        """Bring the catalogue to what the clusterset says now of what *change* names."""
        if change.federation and self._clusterset.federation:
            told = records.encode(self._clusterset.federation)
            self.catalogue.replace(records.FEDERATION, {told.name: told})
        self.catalogue.update(records.MEMBER, {name: self._member(name) for name in change.clusters})
        self.catalogue.update(records.IMPORT, {str(name): self._import(name) for name in change.services})
        self.catalogue.update(records.FOREIGN, {name: self._trust(name) for name in change.trusts})
        self._faces.follow(change)
        for name in change.clusters:
            if heard := self._heard_of.pop(name, None):
                heard.set()

    def alive(self, cluster: ClusterName) -> AliveRecord | None:
        """Which connection *cluster* has, to whichever hub."""
        return self._clusterset.alive(cluster)

    async def known(self, cluster: ClusterName, alive: AliveRecord) -> None:
        """Wait until this connection of *cluster* is known here, and so all that was written down before.

        SyncRefused if that takes too long: this hub has lost its store, and another may not have.
        """
        try:
            async with asyncio.timeout(_KNOWN_WITHIN):
                while self._clusterset.alive(cluster) != alive:
                    await self._heard_of.setdefault(cluster, asyncio.Event()).wait()
        except TimeoutError as error:
            reason = f"this hub is more than {_KNOWN_WITHIN:g} s behind its store"
            raise SyncRefused("behind", reason, "another hub may not be") from error

    def _member(self, name: ClusterName) -> Resource | None:
        member = self._clusterset.member(name)
        return records.encode(member) if member else None

    def _import(self, name: ServiceName) -> Resource | None:
        imported = self._clusterset.import_(name)
        return records.encode(imported) if imported else None

    def _trust(self, trust_domain: str) -> Resource | None:
        """What a foreign trust domain is known by; None as long as nothing good was fetched."""
        bundle = bundle_of(self._clusterset.trust(trust_domain))
        return records.encode(bundle) if bundle else None
