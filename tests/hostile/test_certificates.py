"""Requests and chains that were tampered with: nobody gets a certificate, or is believed, by accident."""

import base64
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from pki.authority import from_pem
from pki.bundle import check_issuing_ca, check_svid, spiffe_id_of, spki_sha256
from pki.csr import make_csr, verify_csr
from pki.errors import CertificateRefused, CsrRefused, PkiError
from pki.spiffe import agent_id
from tests.authorities import NOW, Authorities
from tests.hostile.strategies import as_text, damaged, hostile, noise

DOMAIN: Final = "onprem.fed.example"
KEYS: Final = (ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()))
PKI: Final = Authorities()


def _others() -> Iterator[x509.CertificateSigningRequest]:
    """Requests of the kinds that we do not take."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://fed.example/hub")])
    plain = x509.CertificateSigningRequestBuilder().subject_name(name)
    yield plain.add_extension(names, critical=True).sign(KEYS[0], hashes.SHA256())
    yield plain.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    yield plain.sign(ed25519.Ed25519PrivateKey.generate(), None)


REQUESTS: Final = tuple(make_csr(key).encode() for key in KEYS) + tuple(
    request.public_bytes(serialization.Encoding.PEM) for request in _others()
)


def der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))


def armoured(what: str, content: bytes) -> bytes:
    body = base64.encodebytes(content)
    return f"-----BEGIN {what}-----\n".encode() + body + f"-----END {what}-----\n".encode()


def public(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


requests = as_text(
    st.one_of(
        damaged([der(pem) for pem in REQUESTS]).map(lambda c: armoured("CERTIFICATE REQUEST", c)),
        damaged(REQUESTS),
        noise(),
    )
)


@hostile(200)
@given(requests)
def test_a_tampered_request_is_refused_or_is_for_a_key_that_signed_it(pem: str) -> None:
    with suppress(CsrRefused):
        assert public(verify_csr(pem)) in {public(key.public_key()) for key in KEYS}


CHAIN: Final = tuple(
    c.public_bytes(serialization.Encoding.DER)
    for c in (*PKI.agent("onprem").chain, *PKI.agent("cloud").chain, PKI.root.certificate)
)
AGENT: Final = agent_id(DOMAIN)


@st.composite
def chains(draw: st.DrawFn) -> str:
    """Certificates in any order, one of them tampered with."""
    order = draw(st.lists(st.integers(0, len(CHAIN) - 1), max_size=4))
    parts = [CHAIN[index] for index in order]
    parts.insert(draw(st.integers(0, len(parts))), draw(damaged(CHAIN)))
    return b"".join(armoured("CERTIFICATE", part) for part in parts).decode()


# What a certificate says that we do not support is warned of by the library that reads it.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@hostile(100)
@given(st.one_of(chains(), chains(), as_text(noise())))
def test_a_tampered_chain_is_nobodys_or_the_agents(chain: str) -> None:
    anchors = [PKI.issuing_ca("onprem").certificate]
    with suppress(PkiError):
        assert check_svid(chain, anchors, DOMAIN, NOW) == AGENT
    with suppress(PkiError):
        check_issuing_ca(chain, (PKI.root.certificate,), DOMAIN, NOW)
        assert from_pem(chain)[0] == PKI.issuing_ca("onprem").certificate
    with suppress(CertificateRefused):
        for certificate in from_pem(chain):
            spki_sha256(certificate)
            with suppress(CertificateRefused):
                spiffe_id_of(certificate)
