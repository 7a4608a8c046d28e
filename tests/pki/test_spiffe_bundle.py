"""SPIFFE bundles: what we write is what we read, and what others write is taken with suspicion."""

from base64 import b64encode
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import BundleRefused
from pki.jwt_svid import coordinates, key_id
from pki.signer import KeySigner
from pki.spiffe import SpiffeId
from pki.spiffe_bundle import LARGEST, document, jwt_jwk, parse
from tests.authorities import NOW, Authorities
from tests.builders import ONPREM

PKI = Authorities()
ISSUING = PKI.issuing_ca(ONPREM).certificate
KEY = KeySigner.generate().public_key()
JWK = jwt_jwk(key_id(KEY), *coordinates(KEY))


def written(*keys: object, **more: object) -> bytes:
    return msgspec.json.encode({"keys": list(keys)} | more)


def x509_key(certificate: x509.Certificate) -> dict[str, object]:
    der = certificate.public_bytes(serialization.Encoding.DER)
    return {"kty": "EC", "use": "x509-svid", "x5c": [b64encode(der).decode()]}


def root_with(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A root that is not of our making."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )


def test_what_is_written_is_read_back() -> None:
    read = parse(document([ISSUING, PKI.root.certificate], [JWK], sequence=7, refresh_hint=300))
    assert read.authorities == (ISSUING, PKI.root.certificate)
    ((told, key),) = read.jwt_keys
    assert (told.kid, key) == (JWK.kid, KEY)
    assert (read.sequence, read.refresh_hint) == (7, 300)


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["RSA", "P-384"],
)
def test_an_authority_may_have_a_key_of_another_kind(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    root = root_with(key)
    assert parse(document([root], [])).authorities == (root,)


def test_keys_of_kinds_and_for_uses_that_are_unknown_are_passed_over() -> None:
    strange = {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "use": "jwt-svid", "kid": "a"}
    future = {"kty": "EC", "use": "wit-svid", "kid": "b"}
    read = parse(written(strange, future, x509_key(ISSUING), spiffe_refresh_hint=60, more=1))
    assert read.authorities == (ISSUING,)
    assert read.jwt_keys == ()


def test_a_private_key_in_it_is_not_kept() -> None:
    leaked = msgspec.to_builtins(JWK) | {"d": "c2VjcmV0"}
    ((told, _),) = parse(written(leaked)).jwt_keys
    assert b"c2VjcmV0" not in msgspec.json.encode(told)


LEAF = PKI.svid(SpiffeId("onprem.fed.example", "/ns/shop/sa/web")).certificate
REFUSED = {
    "no JSON": (b"{", "not a SPIFFE bundle"),
    "no keys": (written(), "no key that we can use"),
    "only strange keys": (written({"kty": "oct", "use": "jwt-svid", "kid": "a"}), "no key that we can use"),
    "no certificate": (written({"kty": "EC", "use": "x509-svid"}), "0 certificates instead of one"),
    "not base64": (written({"kty": "EC", "use": "x509-svid", "x5c": ["*"]}), "cannot be read"),
    "a leaf": (written(x509_key(LEAF)), "is no authority's"),
    "a JWT key without a name": (written(msgspec.to_builtins(JWK) | {"kid": ""}), "has no kid"),
    "a point off the curve": (written(msgspec.to_builtins(JWK) | {"y": JWK.x}), "cannot be read"),
    "too many keys": (written(*[x509_key(ISSUING)] * 65), "more than 64 keys"),
    "too large": (b" " * (LARGEST + 1), "larger than"),
    "a short RSA key": (
        written({"kty": "RSA", "use": "jwt-svid", "kid": "a", "n": "w" * 171, "e": "AQAB"}),
        "fewer than 2048",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bundle_that_cannot_be_right_is_refused_as_a_whole(what: str) -> None:
    content, why = REFUSED[what]
    with pytest.raises(BundleRefused, match=why):
        parse(content)


@given(
    st.binary(max_size=300) | st.recursive(st.none() | st.text(max_size=5), st.lists).map(msgspec.json.encode)
)
def test_nothing_that_can_be_served_does_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(BundleRefused):
        parse(content)
