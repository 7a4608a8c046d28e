"""What an agent tells the hub of its gateways' anchors: which issuing CAs each has acknowledged.

A gateway confirms versions of secrets. Which issuing CAs were in a version is known here, for as long as a
gateway may still have that version. A cluster that is no member any more is told of for as long as a gateway
may still believe it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from clusters.model import MAX_GATEWAYS, ClusterView, Member
from clusters.names import ClusterName
from clusters.reports import EVERY, Anchors, Phase
from federation.fronts import Front
from federation.sync import records
from gateway import names, sds
from gateway.ads import GatewayStatus
from gateway.delta import Catalogue, Standing
from pki.bundle import fingerprint_of
from pki.errors import PkiError

_SOON: Final = 0.05
_SETTLES: Final = 5.0  # in which gateways find the way back to an agent that was started again

Held = Mapping[str, str]
"""The versions that a gateway has acknowledged, by the secret's name."""


@dataclass(slots=True)
class Acknowledged:
    """Turns what gateways hold into what the hub is told. For one view after the other."""

    _versions: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _seen: Mapping[ClusterName, Member] | None = None
    _own: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _told: dict[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def parting(self) -> bool:
        """Whether some gateway may still believe a cluster that is no member any more."""
        return any(told.keys() - self._own.keys() for told in self._told.values())

    def follow(self, view: ClusterView) -> None:
        """Learn which issuing CAs are in the newest version of each secret."""
        if view.members is self._seen:
            return
        self._seen = view.members
        self._own = {}
        for name, member in sorted(view.members.items()):
            secret = sds.anchors(member)
            self._own[name] = tuple(_fingerprints(member.anchors))
            self._versions[secret.name, secret.version] = self._own[name]

    def told(
        self, gateways: Iterable[GatewayStatus], fronts: Iterable[Front], *, own: bool
    ) -> tuple[Anchors, ...]:
        """What the hub is told: of gateways that are connected, of those that live without being so.

        With *own* also of what a gateway would be given that asked now.
        """
        connected = {_label(status.spec.name, status.spec.roles): status for status in gateways}
        held: dict[str, Held | None] = {
            _label(front.report.name, front.report.serves): None
            for front in fronts
            if not front.silent and front.report.phase is not Phase.ENDED
        }
        held |= {gateway: status.anchors for gateway, status in connected.items()}
        self._forget([each for each in held.values() if each is not None])
        synced = {gateway for gateway, s in connected.items() if s.standing is Standing.SYNCED}
        some = [self._parted(self.of(g, held[g]), g in synced) for g in sorted(held)[:MAX_GATEWAYS]]
        self._told = {each.gateway: each.anchors for each in some}
        return (*((self.own(),) if own else ()), *some)

    def _parted(self, now: Anchors, synced: bool) -> Anchors:
        """What a gateway has *now*, with those who are gone as long as it may not have heard of that."""
        if synced:
            return now
        before = self._told.get(now.gateway, {})
        gone = {cluster: known for cluster, known in before.items() if cluster not in self._own}
        return Anchors(now.gateway, {**gone, **now.anchors})

    def own(self) -> Anchors:
        """What a gateway would be given that asked now."""
        return Anchors("", self._own)

    def of(self, gateway: str, held: Held | None) -> Anchors:
        """What *gateway* has acknowledged; without *held* it is there, and nobody knows what it has."""
        if held is None:
            return Anchors(gateway, dict.fromkeys(self._own, ()))
        known: dict[str, tuple[str, ...]] = {}
        for cluster in self._own:
            secret = names.anchors(ClusterName(cluster))
            if secret in held:
                known[cluster] = self._versions.get((secret, held[secret]), ())
        return Anchors(gateway, known)

    def _forget(self, held: Iterable[Held]) -> None:
        """Forget the versions that are not the newest and that nobody holds."""
        used = {item for each in held for item in each.items()}
        newest = set(self._own.values())
        self._versions = {k: v for k, v in self._versions.items() if k in used or v in newest}


class AnchorTelling:
    """Keeps the hub told. One that was just started says nothing of itself before its gateways are back."""

    def __init__(
        self,
        gateways: Callable[[], Iterable[GatewayStatus]],
        fronts: Callable[[], Iterable[Front]],
        published: Catalogue,
    ) -> None:
        self._gateways = gateways
        self._fronts = fronts
        self._published = published
        self._acknowledged = Acknowledged()
        self._moved = asyncio.Event()
        self._settled = time.monotonic() + _SETTLES

    def moved(self) -> None:
        """Tell what has changed, soon."""
        self._moved.set()

    def settle(self) -> None:
        """The gateways are known: another agent has left them."""
        self._settled = time.monotonic()

    async def run(self, view: Callable[[], ClusterView]) -> None:
        """Tell of each change in what gateways have acknowledged, for ever; *view* gives what is known."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SOON if self._acknowledged.parting() else EVERY):
                    await self._moved.wait()
            self._moved.clear()
            self._acknowledged.follow(view())
            settled = time.monotonic() >= self._settled
            told = self._acknowledged.told(self._gateways(), self._fronts(), own=settled)
            self._published.replace(records.ANCHORS, {each.name: each for each in map(records.encode, told)})


def _label(name: str, roles: Iterable[str]) -> str:
    """A gateway's name; of two that share it, in one role each, name and role."""
    served = sorted(str(role) for role in roles)
    return name if len(served) != 1 else f"{name}/{served[0]}"


def _fingerprints(anchors: Iterable[str]) -> Iterable[str]:
    for chain in sorted(anchors):
        try:
            yield fingerprint_of(chain)
        except PkiError:
            continue
