"""Certificate signing requests: a proof that somebody has a key. What else one says is not looked at."""

from typing import Final, NewType

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki.authority import key_usage, subject_of
from pki.errors import CsrRefused
from pki.profile import Profile

VerifiedCsr = NewType("VerifiedCsr", ec.EllipticCurvePublicKey)
"""The key out of a request whose signature was checked. Only `verify_csr` makes one."""

_LONGEST: Final = 8192
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def make_csr(key: ec.EllipticCurvePrivateKey) -> str:
    """Ask for a certificate for *key*. It carries no name: names are given, not asked for."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def make_ca_csr(key: ec.EllipticCurvePrivateKey, profile: Profile) -> str:
    """Ask a CA that is not ours for what *profile* says. It may give another name and other dates."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_of(profile, key.public_key()))
        .add_extension(x509.BasicConstraints(True, profile.path_length), critical=True)
        .add_extension(key_usage(is_ca=True), critical=True)
    )
    signed = request.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def verify_csr(pem: str) -> VerifiedCsr:
    """Give the public key of a request that was signed with its private half."""
    if len(pem) > _LONGEST:
        raise CsrRefused(f"longer than {_LONGEST} characters")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, signed_with = request.public_key(), request.signature_hash_algorithm
        proven = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CsrRefused("not a PEM certificate signing request that we understand") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise CsrRefused("its key is not on P-256, P-384 or P-521")
    if not isinstance(signed_with, _HASHES):
        raise CsrRefused("it is not signed with SHA-256 or better")
    if not proven:
        raise CsrRefused("it is not signed with the key that it is for")
    return VerifiedCsr(key)
