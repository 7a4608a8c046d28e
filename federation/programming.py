"""What each gateway of a cluster is told: its catalogue, kept in step with the view and the SVIDs.

A catalogue outlives its gateway's connections, so that one that comes back is sent what changed and no
more. A view that cannot be translated for a gateway changes nothing there, and we say so.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from clusters.model import ClusterView
from federation.log import Log
from federation.svids import Svid, Svids
from gateway import names, sds
from gateway.delta import Catalogue, Resource
from gateway.errors import GatewayError, GatewayRefused
from gateway.kinds import IN_ORDER, SECRET
from gateway.snapshot import Snapshot
from gateway.spec import GatewaySpec, Role
from gateway.translate import advance
from gateway.view import sources
from pki.errors import PkiError
from pki.spiffe import SpiffeId, gateway_id, workload_id

log = Log(__name__)

MAX_GATEWAYS: Final = 64


class Programme:
    """One gateway: what it is, and everything that it is to have."""

    def __init__(self, spec: GatewaySpec) -> None:
        self.spec = spec
        self.catalogue = Catalogue()
        self._snapshot: Snapshot | None = None
        self._secrets: dict[str, tuple[int, Resource]] = {}

    def follow(self, view: ClusterView) -> None:
        """Bring the catalogue to *view*; stay with what there is if that is impossible."""
        before = self._snapshot
        try:
            snapshot, changes = advance(view, self.spec, before)
            if before is None:
                snapshot.check()
        except GatewayError as error:
            log.error("snapshot kept", gateway=self.spec.name, reason=str(error))
            return
        for kind in IN_ORDER:
            self.catalogue.update(kind, changes.get(kind, {}))
        self._snapshot = snapshot

    def give(self, secrets: Iterable[tuple[str, Svid]]) -> None:
        """Make *secrets* all that it has beside its snapshot's anchors."""
        wanted: dict[str, tuple[int, Resource]] = {}
        for name, svid in secrets:
            held = self._secrets.get(name)
            if held is None or held[0] != svid.serial:
                held = svid.serial, sds.tls_certificate(name, svid.chain_pem, svid.key_pem)
            wanted[name] = held
        gone: dict[str, Resource | None] = dict.fromkeys(self._secrets.keys() - wanted.keys())
        self.catalogue.update(SECRET, {**gone, **{name: made for name, (_, made) in wanted.items()}})
        self._secrets = wanted


class Programmes:
    """All gateways of a cluster that have ever connected since we started."""

    def __init__(
        self, view: ClusterView, trust_domain: str, svids: Svids, now: Callable[[], datetime]
    ) -> None:
        self._view = view
        self._trust_domain = trust_domain
        self._svids = svids
        self._now = now
        # By role too, as certificates are: a gateway elsewhere cannot take the place of its namesake.
        self._programmes: dict[tuple[str, frozenset[Role]], Programme] = {}

    def catalogue_of(self, spec: GatewaySpec) -> Catalogue:
        """The catalogue of the gateway that *spec* describes; raises GatewayRefused for one too many.

        A gateway that comes back with another description starts afresh.
        """
        key = spec.name, spec.roles
        programme = self._programmes.get(key)
        if programme is None and len(self._programmes) >= MAX_GATEWAYS:
            raise GatewayRefused(spec.name, f"there are {MAX_GATEWAYS} gateways already")
        if programme is None or programme.spec != spec:
            programme = self._programmes[key] = Programme(spec)
            programme.follow(self._view)
            self._give_secrets((programme,))
        return programme.catalogue

    def follow(self, view: ClusterView) -> None:
        """Bring every gateway to *view*."""
        sources_changed = view.offer.workloads != self._view.offer.workloads
        self._view = view
        if sources_changed:
            # What a workload is called by goes first when it is taken away, and last when it is given.
            self.renew()
        for programme in self._programmes.values():
            programme.follow(view)

    def renew(self) -> None:
        """Give every gateway the newest SVIDs; those that are due are minted anew."""
        self._give_secrets(tuple(self._programmes.values()))

    def _give_secrets(self, programmes: Iterable[Programme]) -> None:
        now = self._now()
        identities = {
            names.source_secret(address): workload_id(self._trust_domain, w.namespace, w.name)
            for address, w in sources(self._view.offer).items()
        }
        for programme in programmes:
            wanted = {
                names.gateway_secret(role): gateway_id(self._trust_domain, role, programme.spec.name)
                for role in programme.spec.roles
            }
            if Role.EGRESS in programme.spec.roles:
                wanted |= identities
            programme.give(self._minted(wanted, now))

    def _minted(self, wanted: dict[str, SpiffeId], now: datetime) -> Iterable[tuple[str, Svid]]:
        """Each secret's SVID; one that cannot be minted is left out, which refuses whoever needs it."""
        for name, spiffe_id in wanted.items():
            try:
                yield name, self._svids.get(spiffe_id, now)
            except PkiError as error:
                log.error("no certificate", identity=str(spiffe_id), reason=str(error))
