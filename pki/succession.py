"""One root follows another: those who trust the old one come to trust the new by a cross-certificate.

    old root ── cross-certificate    the new root's name and key, signed by the old root
    new root                         the same name and key, signed by itself

A cross-certificate is never a part of a chain: it is shown once, and whoever believes it has the new root
itself from then on.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki.authority import Authority, describe, sign
from pki.bundle import check_cross, check_root, fingerprint
from pki.errors import CertificateRefused
from pki.profile import Profile


def bundle_hash(roots: Sequence[x509.Certificate]) -> str:
    """One name for exactly these roots, in whatever order."""
    return hashlib.sha256("\n".join(sorted(map(fingerprint, roots))).encode()).hexdigest()


def cross_certificate(successor: x509.Certificate, by: Authority, now: datetime) -> x509.Certificate:
    """Have the root *by* say that *successor* is a root as well; refuse one that cannot be."""
    check_root(successor, now)
    key = successor.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise CertificateRefused(describe(successor), "its key is of a kind that we do not know")
    lifetime = successor.not_valid_after_utc - now.replace(microsecond=0)
    described = Profile(lifetime, is_ca=True)
    return sign(described, key, issuer=by.certificate, signer=by.signer, now=now, subject=successor.subject)


def accepted(
    trusted: Sequence[x509.Certificate],
    told: Sequence[x509.Certificate],
    crosses: Sequence[x509.Certificate],
    now: datetime,
) -> tuple[x509.Certificate, ...]:
    """*told*, if all of them are roots that count: trusted already, or vouched for by one that is.

    Raises CertificateRefused for one that is neither, and for none at all. A root that was accepted vouches
    in its turn, so whoever was away while two roots followed each other can catch up.
    """
    if not told:
        raise CertificateRefused("roots", "there are none")
    vouching, left = list(trusted), [root for root in told if root not in trusted]
    while left:
        vouched = [root for root in left if not _objection(root, vouching, crosses, now)]
        if not vouched:
            raise CertificateRefused(describe(left[0]), _objection(left[0], vouching, crosses, now))
        vouching += vouched
        left = [root for root in left if root not in vouched]
    return tuple(told)


def _objection(
    root: x509.Certificate,
    by: Sequence[x509.Certificate],
    crosses: Sequence[x509.Certificate],
    now: datetime,
) -> str:
    """Say why *root* does not count for those who trust *by*, or nothing."""
    reason = "we do not know this root, and nobody whom we trust vouches for it"
    try:
        check_root(root, now)
    except CertificateRefused as error:
        return error.reason
    for cross in crosses:
        if cross.subject == root.subject:
            try:
                check_cross(cross, root, by, now)
            except CertificateRefused as error:
                reason = error.reason
            else:
                return ""
    return reason
