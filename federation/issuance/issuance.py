"""What the hub does for a cluster's issuing CAs: certifies the next, says who knows it, takes old ones away.

Who calls is asked for at each call, by the registry as it is then. What is signed counts by its record alone:
the anchor is written down in the same transaction that sees that the caller still is a member, and a
certificate that was signed without that is nobody's.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from clusters.admission import SKEW_REFUSED
from clusters.names import ClusterName
from federation.anchoring import Anchoring
from federation.api.http import off_the_loop
from federation.audit import Audit, described
from federation.doorkeeper import Doorkeeper
from federation.errors import IssuanceDenied
from federation.hub_authority import HubAuthority
from federation.issuance.messages import (
    OUTSIDE,
    Lagging,
    RenewAnswer,
    RenewRequest,
    RetireAnswer,
    RetireRequest,
    StandingAnswer,
    StandingRequest,
)
from federation.log import Log
from federation.registry.clusterset import Clusterset
from federation.registry.records import ClusterRecord
from federation.registry.registry import Registry
from gateway.rpc import Peer
from pki.authority import from_pem
from pki.bundle import fingerprint
from pki.csr import verify_csr
from pki.errors import CsrRefused
from pki.lifetimes import GRACE
from pki.profile import issued_at

log = Log(__name__)

CSR_INVALID: Final = "csr-invalid"
CLOCK_SKEW: Final = "clock-skew"


class Issuance:
    """The service, without the wire.

    In the span *outside* those who follow our bundles hear of a new issuing CA; none if nobody does.
    """

    def __init__(
        self,
        authority: HubAuthority,
        registry: Registry,
        clusterset: Clusterset,
        anchoring: Anchoring,
        doorkeeper: Doorkeeper,
        now: Callable[[], datetime],
        audit: Audit,
        grace: timedelta = GRACE,
        outside: timedelta = timedelta(),
    ) -> None:
        self._authority = authority
        self._registry = registry
        self._clusterset = clusterset
        self._anchoring = anchoring
        self._doorkeeper = doorkeeper
        self._now = now
        self._audit = audit
        self._grace = grace
        self._outside = outside

    async def renew(self, peer: Peer, asked: RenewRequest) -> RenewAnswer:
        """Certify the calling cluster's next issuing CA, or give it the one that it has for this key."""
        self._check_clock(asked.clock)
        record = await self._doorkeeper.member(peer)
        chain = await self.certify(
            record.name, asked.csr, lambda found: self._doorkeeper.check(peer, found), peer.address
        )
        return RenewAnswer(chain)

    async def certify(
        self, cluster: ClusterName, csr: str, admitted: Callable[[ClusterRecord], None], actor: str
    ) -> tuple[str, ...]:
        """Sign for the key in *csr*, once, and write the anchor down if the record is still *admitted*."""
        try:
            key = verify_csr(csr)
        except CsrRefused as error:
            raise IssuanceDenied(CSR_INVALID, str(error)) from error

        async def sign() -> tuple[str, ...]:
            return await off_the_loop(lambda: self._authority.sign_issuing_ca(key, cluster, self._now()))

        chain, new = await self._registry.members.add_anchor(
            cluster, key, admitted, sign, self._now(), self._grace
        )
        if new:
            (certificate, *_) = from_pem(chain[0])
            self._audit.record("issued", cluster, actor=actor, what="issuing-ca", **described(certificate))
            log.info("issuing CA certified", cluster=cluster)
        return chain

    async def standing(self, peer: Peer, asked: StandingRequest) -> StandingAnswer:
        """Name everybody who has not acknowledged an anchor of the calling cluster."""
        record = await self._doorkeeper.member(peer)
        clusters = self._clusterset.clusters
        lagging = self._anchoring.lagging(record.name, asked.anchor, clusters)
        return StandingAnswer((*lagging, *self._lagging_outside(record, asked.anchor)))

    def _lagging_outside(self, record: ClusterRecord, anchor: str) -> Iterator[Lagging]:
        """Those who follow our bundles, as long as they may not have looked since *anchor* was made."""
        if not self._outside:
            return  # nobody can; and when it was made is a guess where its issuer is hardly older
        for chain in record.anchors:
            certificate = from_pem(chain)[0]
            if fingerprint(certificate) == anchor and self._now() < issued_at(certificate) + self._outside:
                yield Lagging(OUTSIDE, "", "they look for new issuing CAs now and then")

    async def retire(self, peer: Peer, asked: RetireRequest) -> RetireAnswer:
        """Take an anchor of the calling cluster away; never the one that the caller is known by."""
        self._check_clock(asked.clock)
        record = await self._doorkeeper.member(peer)

        def admitted(without: ClusterRecord) -> None:
            self._doorkeeper.check(peer, without)

        left = await self._registry.members.retire_anchor(record.name, asked.anchor, admitted)
        self._audit.record("retired", record.name, actor=peer.address, what="issuing-ca", anchor=asked.anchor)
        log.info("anchor retired", cluster=record.name, anchor=asked.anchor[:16], left=len(left.anchors))
        return RetireAnswer(len(left.anchors))

    def _check_clock(self, theirs: datetime) -> None:
        apart = (theirs - self._now()).total_seconds()
        if abs(apart) > SKEW_REFUSED:
            reason = f"the agent's clock is {apart:+.0f} s off the hub's"
            raise IssuanceDenied(CLOCK_SKEW, reason, "set it, best by NTP")
