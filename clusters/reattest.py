"""A cluster whose issuing CA has ended is let in again, by the key of the one that it still has.

It cannot show a certificate that is valid. What it can show is that it has the key of an issuing CA that the
hub still has on record. The hub takes that for as long as its grace lasts; after that a new token is needed.
"""

import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Final

from clusters.admission import REATTEST_PATH, ReattestAnswer, ReattestRequest
from clusters.errors import JoinRefused
from clusters.identity import ClusterIdentity
from clusters.pinned import Server, open_pinned
from pki.bundle import fingerprint, spki_sha256
from pki.profile import HUB_DNS_NAME
from pki.spiffe import hub_id

_TIMEOUT: Final = 10.0


def reattest(
    identity: ClusterIdentity, csr: str, clock: Callable[[], datetime], *, timeout: float = _TIMEOUT
) -> tuple[str, ...]:
    """The chain of the next issuing CA for the key in *csr*, each PEM; raises JoinRefused."""
    membership = identity.membership
    if not membership.join:
        raise JoinRefused(
            "unreachable",
            "this cluster joined by an older fedgate, which did not keep the hub's address",
            "join again with a new token and `fedgate join --rejoin`",
        )
    hub = Server("hub", hub_id(membership.domain), membership.join, HUB_DNS_NAME)
    pins = tuple(spki_sha256(root) for root in identity.roots)
    with contextlib.closing(open_pinned(hub, pins, timeout, clock)) as connection:
        return connection.post(REATTEST_PATH, asked(identity, csr, clock()), ReattestAnswer).chain


def asked(identity: ClusterIdentity, csr: str, now: datetime) -> ReattestRequest:
    """The request, with its proof."""
    anchor = fingerprint(identity.authority.certificate)
    bare = ReattestRequest(identity.membership.cluster, anchor, csr, now, b"")
    proof = identity.signer.sign(bare.statement)
    return ReattestRequest(bare.cluster, anchor, csr, now, proof)
