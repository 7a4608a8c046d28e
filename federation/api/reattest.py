"""The hub's door for a cluster that slept past the end of its issuing CA: the key of that lets it in again.

It is no weaker than a renewal in time: who has the key could have asked then. It is bounded by a grace and
by the record: a cluster that was joined again elsewhere, or is no member any more, has no such anchor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from clusters.admission import REATTEST_PATH, SKEW_REFUSED, ReattestAnswer, ReattestRequest, Refusal
from clusters.names import cluster_name
from federation.api.http import ApiError, actor_of, body_as, json_response
from federation.audit import Audit
from federation.errors import IssuanceDenied, UnknownCluster
from federation.issuance.issuance import Issuance
from federation.log import Log
from federation.registry.records import ClusterRecord
from federation.registry.registry import Registry
from pki.authority import from_pem
from pki.bundle import fingerprint
from pki.signer import signed_by

log = Log(__name__)

_JOIN_AGAIN = "make a new token at the hub, and use it with `fedgate join --rejoin`"


@dataclass(frozen=True, slots=True)
class BackDoor:
    """What it takes to let a cluster in again."""

    registry: Registry
    issuance: Issuance
    grace: timedelta
    now: Callable[[], datetime]
    audit: Audit

    async def reattest(self, asked: ReattestRequest, actor: str = "") -> ReattestAnswer:
        """Certify the cluster's next issuing CA, or say why not."""
        try:
            return await self._reattested(asked, actor)
        except ApiError as error:
            told = {"what": "reattest", "code": error.code, "reason": str(error)}
            self.audit.record("denied", asked.cluster, actor=actor, **told)
            raise

    async def _reattested(self, asked: ReattestRequest, actor: str) -> ReattestAnswer:
        apart = (asked.clock - self.now()).total_seconds()
        if abs(apart) > SKEW_REFUSED:
            reason = f"the cluster's clock is {apart:+.0f} s off the hub's"
            raise ApiError(409, Refusal.CLOCK_SKEW, reason, "set it, best by NTP")
        cluster = cluster_name(asked.cluster)
        try:
            self._check(asked, await self.registry.members.get(cluster))
            chain = await self.issuance.certify(
                cluster, asked.csr, lambda record: self._check(asked, record), actor
            )
        except UnknownCluster as error:
            raise _no_proof(asked) from error
        except IssuanceDenied as error:
            raise ApiError(403, error.code, str(error), error.hint) from error
        log.info("cluster let in again", cluster=cluster)
        return ReattestAnswer(chain)

    def _check(self, asked: ReattestRequest, record: ClusterRecord) -> None:
        """Raise unless the proof is by the key of an anchor of *record* that has not ended too long ago."""
        anchors = [from_pem(chain)[0] for chain in record.anchors]
        anchor = next((each for each in anchors if fingerprint(each) == asked.anchor), None)
        key = anchor.public_key() if anchor else None
        if anchor is None or not isinstance(key, ec.EllipticCurvePublicKey):
            raise _no_proof(asked)
        if not signed_by(key, asked.proof, asked.statement):
            raise _no_proof(asked)
        ended = anchor.not_valid_after_utc
        if self.now() >= ended + self.grace:
            reason = (
                f"the issuing CA of {asked.cluster} ended at {ended}, and the hub's grace is {self.grace}"
            )
            raise ApiError(403, Refusal.GRACE_OVER, reason, _JOIN_AGAIN)


def add_reattest(app: web.Application, door: BackDoor) -> None:
    """Have *app* let clusters in again."""

    async def reattest(request: web.Request) -> web.StreamResponse:
        asked = await body_as(request, ReattestRequest)
        return json_response(await door.reattest(asked, actor_of(request)))

    app.router.add_post(REATTEST_PATH, reattest)


def _no_proof(asked: ReattestRequest) -> ApiError:
    """One answer for who is no member, has no such anchor, or has not its key: strangers learn nothing."""
    reason = f"this proves nothing of cluster {asked.cluster}"
    return ApiError(403, Refusal.PROOF_INVALID, reason, _JOIN_AGAIN)
