"""Signing requests: a proof of possession of a key that is good enough, or an error."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from pki.csr import make_csr, verify_csr
from pki.errors import CsrRefused

KEY = ec.generate_private_key(ec.SECP256R1())


def request(key: CertificateIssuerPrivateKeyTypes, algorithm: hashes.SHA224 | hashes.SHA256 | None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.sign(key, algorithm)
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_a_request_of_ours_gives_its_key() -> None:
    assert verify_csr(make_csr(KEY)) == KEY.public_key()


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_larger_curves_are_as_good(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert verify_csr(make_csr(key)) == key.public_key()


def test_a_request_signed_with_another_key_is_refused() -> None:
    der = bytearray(x509.load_pem_x509_csr(make_csr(KEY).encode()).public_bytes(serialization.Encoding.DER))
    point = KEY.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    other = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    swapped = bytes(der).replace(point, other)
    with pytest.raises(CsrRefused, match="not signed with the key"):
        verify_csr(x509.load_der_x509_csr(swapped).public_bytes(serialization.Encoding.PEM).decode())


def test_a_weak_curve_is_refused() -> None:
    with pytest.raises(CsrRefused, match="P-256"):
        verify_csr(make_csr(ec.generate_private_key(ec.SECP256K1())))


def test_other_kinds_of_keys_are_refused() -> None:
    for pem in (
        request(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        request(ed25519.Ed25519PrivateKey.generate(), None),
    ):
        with pytest.raises(CsrRefused, match="P-256"):
            verify_csr(pem)


def test_a_weak_signature_is_refused() -> None:
    with pytest.raises(CsrRefused, match="SHA-256"):
        verify_csr(request(KEY, hashes.SHA224()))


def test_an_endless_request_is_refused_unread() -> None:
    with pytest.raises(CsrRefused, match="longer than"):
        verify_csr(make_csr(KEY) + "\n" * 9000)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "\ud800", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"],
)
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(CsrRefused, match="not a PEM"):
        verify_csr(text)


def test_our_requests_ask_for_no_name() -> None:
    csr = x509.load_pem_x509_csr(make_csr(KEY).encode())
    assert csr.subject == x509.Name([])
    assert len(csr.extensions) == 0
