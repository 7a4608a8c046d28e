"""JWT-SVIDs: what one proves, and all the ways in which one proves nothing."""

from collections.abc import Mapping
from datetime import timedelta
from hmac import digest

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import JwtRefused
from pki.jwk import base64url
from pki.jwt_svid import LIFETIME, PublicKey, coordinates, key_id, public_key, sign, validate
from pki.signer import KeySigner
from pki.spiffe import SpiffeId
from tests.authorities import NOW

WEB = SpiffeId.parse("spiffe://onprem.fed.example/ns/shop/sa/web")
SIGNER, OTHER = KeySigner.generate(), KeySigner.generate()
KEY_ID = key_id(SIGNER.public_key())
RSA = rsa.generate_private_key(65537, 2048)
SECOND = timedelta(seconds=1)


def keys_of(trust_domain: str) -> Mapping[str, PublicKey]:
    """What is known: two keys of `onprem`, one of them RSA, and one of `cloud`."""
    known: dict[str, dict[str, PublicKey]] = {
        "onprem.fed.example": {KEY_ID: SIGNER.public_key(), "rsa": RSA.public_key()},
        "cloud.fed.example": {key_id(OTHER.public_key()): OTHER.public_key()},
    }
    return known.get(trust_domain, {})


def made(
    header: Mapping[str, object] | None = None,
    *,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes | None = SIGNER.key,
    algorithm: str = "ES256",
    **claims: object,
) -> str:
    """A token that is good but for what is said; a claim of None is left out."""
    all_claims = {"sub": str(WEB), "aud": ["api"], "exp": int(NOW.timestamp()) + 300} | claims
    content = msgspec.json.encode({name: value for name, value in all_claims.items() if value is not None})
    if key is None:
        head = msgspec.json.encode({"alg": algorithm} | dict(header or {}))
        return f"{base64url(head)}.{base64url(content)}."
    return jwt.PyJWS().encode(content, key, algorithm=algorithm, headers=dict(header or {}))


def test_a_token_proves_its_subject_to_its_audience() -> None:
    token = sign(WEB, ["api", "db"], SIGNER, NOW)
    proven = validate(token, "db", keys_of, NOW)
    claims = msgspec.json.decode(proven.claims, type=dict[str, object])
    assert proven.spiffe_id == WEB
    assert claims["aud"] == ["api", "db"]
    assert claims["exp"] == (NOW + LIFETIME).timestamp()
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}


def test_it_is_good_for_its_lifetime_and_what_clocks_may_differ_by() -> None:
    token = sign(WEB, ["api"], SIGNER, NOW)
    assert validate(token, "api", keys_of, NOW + LIFETIME + 29 * SECOND).spiffe_id == WEB
    with pytest.raises(JwtRefused, match="expired"):
        validate(token, "api", keys_of, NOW + LIFETIME + 31 * SECOND)


TOKENS = {
    "good": (made(), ""),
    "named key": (made({"kid": KEY_ID}), ""),
    "audience as a word": (made(aud="api"), ""),
    "type JOSE": (made({"typ": "JOSE"}), ""),
    "RSA": (made({"kid": "rsa"}, key=RSA, algorithm="PS384"), ""),
    "another audience": (made(aud=["db"]), "not for 'api'"),
    "no audience": (made(aud=None), "not a JWT with"),
    "empty audience": (made(aud=[]), "not for 'api'"),
    "no end": (made(exp=None), "not a JWT with"),
    "an end that is no number": (made(exp="tomorrow"), "not a JWT with"),
    "no subject": (made(sub=None), "not a JWT with"),
    "a subject that is no ID": (made(sub="web"), "does not begin with spiffe://"),
    "not yet": (made(nbf=int(NOW.timestamp()) + 3600), "not valid yet"),
    "signed for another domain": (
        made(sub="spiffe://cloud.fed.example/ns/shop/sa/web"),
        "not signed by a JWT key of cloud",
    ),
    "unknown domain": (
        made(sub="spiffe://elsewhere.example/web"),
        "no JWT key of the trust domain elsewhere",
    ),
    "unknown key": (made({"kid": "another"}), "has no JWT key 'another'"),
    "the wrong key named": (made({"kid": "rsa"}), "not signed by"),
    "another's key": (made(key=OTHER.key), "not signed by"),
    "a key from elsewhere": (made({"jku": "https://evil.example"}), "its header has jku"),
    "another type": (made({"typ": "at+jwt"}), "neither JWT nor JOSE"),
    "HMAC": (made(key=bytes(32), algorithm="HS256"), "not signed by"),
    "unsigned": (made(key=None, algorithm="none"), "not signed by"),
    "empty": ("", "not a JWT"),
    "not base64": ("a.b.c", "not a JWT"),
    "too long": ("x" * 20_000, "longer than"),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_is_believed_only_for_what_the_specification_allows(kind: str) -> None:
    token, why = TOKENS[kind]
    if why:
        with pytest.raises(JwtRefused, match=why):
            validate(token, "api", keys_of, NOW)
    else:
        assert validate(token, "api", keys_of, NOW).spiffe_id == WEB


def test_a_public_key_is_no_shared_secret() -> None:
    """The oldest trick: HS256 with what everybody knows."""
    pem = SIGNER.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = msgspec.json.encode({"sub": str(WEB), "aud": ["api"], "exp": int(NOW.timestamp()) + 300})
    header = msgspec.json.encode({"alg": "HS256", "kid": KEY_ID})
    body = f"{base64url(header)}.{base64url(content)}"
    signature = base64url(digest(pem, body.encode(), "sha256"))
    with pytest.raises(JwtRefused, match="not signed by"):
        validate(f"{body}.{signature}", "api", keys_of, NOW)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_nothing_that_one_can_send_does_more_than_be_refused(token: str) -> None:
    with pytest.raises(JwtRefused):
        validate(token, "api", keys_of, NOW)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_with_a_letter_changed_is_refused(at: int, by: int) -> None:
    token = sign(WEB, ["api"], SIGNER, NOW)
    place = at % len(token)
    changed = token[:place] + chr((ord(token[place]) + by) % 128) + token[place + 1 :]
    try:
        proven = validate(changed, "api", keys_of, NOW)
    except JwtRefused:
        return
    assert proven.spiffe_id == WEB  # the last letter of a signature may have bits that mean nothing


def test_a_key_is_its_coordinates() -> None:
    assert public_key(*coordinates(SIGNER.public_key())) == SIGNER.public_key()
    for x, y in (("A" * 43, "A" * 43), ("*" * 43, "B" * 43), ("", "")):
        with pytest.raises(JwtRefused):
            public_key(x, y)
