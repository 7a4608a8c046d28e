"""Whom we trust: checking that a chain leads to an anchor, and says no more than it may.

Why not the verifier of ``cryptography``: it refuses every chain with a name constraint on URIs. What is
checked here is narrower than a general verifier: the chains that ``profile`` describes, and no others.

    root ── hub CA ── issuing CA            `check_issuing_ca`, by the roots
                      issuing CA ── SVID    `check_svid`, by the issuing CAs of its trust domain
    root                                    `check_root`; how one comes to be trusted: see `succession`
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from pki.authority import describe, from_pem
from pki.errors import CertificateRefused, InvalidSpiffeId
from pki.profile import constraints_for
from pki.spiffe import SpiffeId

E = TypeVar("E", bound=x509.ExtensionType)

_LONGEST_CHAIN: Final = 6  # with one CA between hub CA and root, and a cross-certificate
_LARGEST_PEM: Final = 64 * 1024
_BELOW_A_ROOT: Final = 2
_BOTH_ENDS: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
_UNDERSTOOD: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS,
}


def check_issuing_ca(
    chain_pem: str, roots: Sequence[x509.Certificate], trust_domain: str, now: datetime
) -> x509.Certificate:
    """Give the first certificate of the chain: a CA that can sign IDs of *trust_domain*, and no others."""
    chain = _chain(chain_pem)
    issuing = chain[0]
    _check_path(chain, roots, now)
    _check_authority(issuing, below=0)
    constraints = _extension(issuing, x509.NameConstraints)
    if constraints is None or not constraints.critical:
        raise _refused(issuing, "it has no critical name constraints: it could sign for any trust domain")
    if constraints.value != constraints_for(trust_domain):
        raise _refused(issuing, f"its name constraints are not those of {trust_domain}")
    limits = _extension(issuing, x509.BasicConstraints)
    if limits is None or limits.value.path_length != 0:
        raise _refused(issuing, "its path length is not 0: it could make further authorities")
    return issuing


def check_svid(
    chain_pem: str, anchors: Sequence[x509.Certificate], trust_domain: str, now: datetime
) -> SpiffeId:
    """Give the ID that the first certificate of the chain proves under the *anchors* of *trust_domain*.

    The anchors are issuing CAs, or the roots above them.
    """
    chain = _chain(chain_pem)
    leaf = chain[0]
    _check_path(chain, anchors, now)
    basic = _extension(leaf, x509.BasicConstraints)
    if basic is not None and basic.value.ca:
        raise _refused(leaf, "it is an authority's, not an SVID")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.value.digital_signature or usage.value.key_cert_sign:
        raise _refused(leaf, "its key is not for digital signatures alone")
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and not _BOTH_ENDS.issubset(purposes.value):
        raise _refused(leaf, "it is not for both ends of TLS")
    spiffe_id = spiffe_id_of(leaf)
    if spiffe_id.trust_domain != trust_domain:
        raise _refused(leaf, f"it is not of the trust domain {trust_domain}")
    return spiffe_id


def check_root(root: x509.Certificate, now: datetime) -> None:
    """Refuse what cannot be a federation's root: it has to sign itself, and have room for two CAs below."""
    if not issued(root, by=root):
        raise _refused(root, "it has not signed itself: it is no root")
    _check_one(root, now)
    _check_authority(root, below=_BELOW_A_ROOT)


def check_cross(
    cross: x509.Certificate, root: x509.Certificate, by: Sequence[x509.Certificate], now: datetime
) -> None:
    """Refuse *cross* unless one of *by* says in it that the name and the key of *root* are an authority's."""
    if (cross.subject, spki_sha256(cross)) != (root.subject, spki_sha256(root)):
        raise _refused(cross, f"it is not for the root {describe(root)}")
    if not any(issued(cross, by=issuer) for issuer in by):
        raise _refused(cross, "it was not issued by anyone we trust")
    _check_one(cross, now)
    _check_authority(cross, below=_BELOW_A_ROOT)


def root_of(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The one of *roots* that *chain* leads to; says nothing about whether to believe it."""
    return next((root for c in chain for root in roots if issued(c, by=root)), None)


def spiffe_id_of(certificate: x509.Certificate) -> SpiffeId:
    """The one SPIFFE ID that *certificate* carries. Says nothing about whether to believe it."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if len(uris) != 1:
        raise _refused(certificate, f"it has {len(uris)} URI names, and an SVID has one")
    try:
        return SpiffeId.parse(uris[0])
    except InvalidSpiffeId as error:
        raise _refused(certificate, str(error)) from error


def spki_sha256(certificate: x509.Certificate) -> str:
    """The pin of a certificate: it stays the same when the same key is certified anew."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused(certificate, "its key cannot be read") from error
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def fingerprint_of(chain_pem: str) -> str:
    """The SHA-256 of the first certificate of a chain, in hex."""
    return fingerprint(from_pem(chain_pem)[0])


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of *certificate* itself: which one it is, and not only whose key it is for."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    """Whether *by* is the issuer: in name, and by its signature. Dates and purposes are not looked at."""
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _chain(pem: str) -> tuple[x509.Certificate, ...]:
    if len(pem) > _LARGEST_PEM:
        raise CertificateRefused("chain", f"longer than {_LARGEST_PEM} characters")
    chain = from_pem(pem)
    if len(chain) > _LONGEST_CHAIN:
        raise _refused(chain[0], f"its chain has {len(chain)} certificates, more than {_LONGEST_CHAIN}")
    return chain


def _check_path(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime
) -> None:
    """Walk from the first certificate of *chain* up to one that an anchor issued; the rest is not needed."""
    _check_one(chain[0], now)
    for depth, certificate in enumerate(chain):
        issuer = next(
            (c for c in (*anchors, *chain[depth + 1 : depth + 2]) if issued(certificate, by=c)), None
        )
        if issuer is None:
            raise _refused(certificate, "it was not issued by anyone we trust")
        _check_one(issuer, now)
        _check_authority(issuer, below=depth)
        _check_names_below(issuer, chain[: depth + 1])
        if issuer in anchors:
            return
    raise AssertionError("a chain ends at an anchor, or in an error")


def _check_one(certificate: x509.Certificate, now: datetime) -> None:
    """Refuse what is not valid now, or has something critical in it that is not looked at here."""
    if now < certificate.not_valid_before_utc:
        raise _refused(certificate, f"not valid before {certificate.not_valid_before_utc}; now is {now}")
    if now > certificate.not_valid_after_utc:
        raise _refused(certificate, f"expired at {certificate.not_valid_after_utc}; now is {now}")
    for extension in _extensions(certificate):
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _refused(certificate, f"it has the critical extension {extension.oid.dotted_string}")


def _check_authority(certificate: x509.Certificate, *, below: int) -> None:
    """Refuse to take *certificate* for an authority with *below* more authorities under it."""
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is None or not basic.value.ca:
        raise _refused(certificate, "it is not an authority's")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.value.key_cert_sign:
        raise _refused(certificate, "its key is not for signing certificates")
    if basic.value.path_length is not None and basic.value.path_length < below:
        raise _refused(certificate, f"its path length {basic.value.path_length} is exceeded")


def _check_names_below(authority: x509.Certificate, below: Sequence[x509.Certificate]) -> None:
    """Hold the names of *below* against the name constraints of *authority*, if it has any."""
    constraints = _extension(authority, x509.NameConstraints)
    if constraints is None:
        return
    permitted = constraints.value.permitted_subtrees or []
    hosts = [name.value for name in permitted if isinstance(name, x509.UniformResourceIdentifier)]
    if len(hosts) != 1 or constraints.value != constraints_for(hosts[0]):
        raise _refused(authority, "its name constraints are of a kind that we do not use")
    for certificate in below:
        names = _extension(certificate, x509.SubjectAlternativeName)
        for name in names.value if names else ():
            if not isinstance(name, x509.UniformResourceIdentifier):
                raise _refused(certificate, f"its issuer may not sign the name {name.value}")
            if _host(name.value) != hosts[0]:
                raise _refused(certificate, f"its issuer may sign names of {hosts[0]} only")


def _host(uri: str) -> str:
    try:
        return SpiffeId.parse(uri).trust_domain
    except InvalidSpiffeId:
        return ""


def _extension(certificate: x509.Certificate, kind: type[E]) -> x509.Extension[E] | None:
    try:
        return _extensions(certificate).get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _refused(certificate, "its extensions cannot be read") from error


def _refused(certificate: x509.Certificate, reason: str) -> CertificateRefused:
    return CertificateRefused(describe(certificate), reason)
