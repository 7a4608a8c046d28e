"""SPIFFE bundles of our own trust domains, as others fetch them, and of others', as members are told."""

from datetime import timedelta

import msgspec

from clusters.foreign import TrustBundle
from clusters.names import ClusterName
from federation.log import Log
from federation.registry.clusterset import Clusterset
from federation.registry.records import TrustRecord
from pki.authority import from_pem
from pki.errors import BundleRefused, InvalidTrustDomain
from pki.spiffe import cluster_of
from pki.spiffe_bundle import document, jwt_jwk, parse, pem

log = Log(__name__)


def own_document(
    clusterset: Clusterset, trust_domain: str, sequence: int, refresh: timedelta
) -> bytes | None:
    """The bundle of the federation's own domain, or of a member's; None for any other.

    Others are to look again after *refresh*.
    The federation's has the roots, which prove the hub; a member's has its issuing CAs and its JWT keys.
    """
    federation, hint = clusterset.federation, int(refresh.total_seconds())
    if federation is None:
        return None
    if trust_domain == federation.domain:
        roots = [from_pem(root)[0] for root in federation.roots]
        return document(roots, (), sequence, hint)
    try:
        member = clusterset.member(ClusterName(cluster_of(trust_domain, federation.domain)))
    except InvalidTrustDomain:
        return None
    if member is None:
        return None
    keys = (jwt_jwk(key.id, key.x, key.y) for key in member.jwt_keys)
    return document((from_pem(chain)[0] for chain in member.anchors), keys, sequence, hint)


def bundle_of(record: TrustRecord | None) -> TrustBundle | None:
    """What members are told of a foreign trust domain; None as long as there is nothing good of it."""
    if record is None or not record.document:
        return None
    try:
        bundle = parse(record.document.encode())
    except BundleRefused as error:
        log.error("bundle not used", trust_domain=record.endpoint.trust_domain, reason=error.reason)
        return None
    jwt_keys = tuple(msgspec.json.encode(key).decode() for key, _ in bundle.jwt_keys)
    return TrustBundle(record.endpoint.trust_domain, pem(bundle.authorities), jwt_keys)
