"""SPIFFE bundles: the keys of one trust domain as a JSON document, written for others and read from them.

A document does not say whose it is. Who fetches one knows that beforehand, and never mixes two.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import jwt
import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki.authority import describe
from pki.errors import BundleRefused
from pki.jwk import base64url
from pki.jwt_svid import PublicKey, algorithms

LARGEST: Final = 256 * 1024
MOST_KEYS: Final = 64
X509_USE: Final = "x509-svid"
JWT_USE: Final = "jwt-svid"

_SMALLEST_RSA: Final = 2048


class Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A JWK as SPIFFE bundles have it: a public key of either kind, and perhaps a certificate for it.

    Other members are passed over when one is read, those of a private key among them.
    """

    kty: str
    use: str = ""
    kid: str = ""
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""
    x5c: list[str] = []
    alg: str = ""


@dataclass(frozen=True, slots=True)
class SpiffeBundle:
    """What a trust domain is known by: its X.509 authorities, and its JWT keys, each also as it was told.

    `sequence` grows with each change, if the domain counts; `refresh_hint` is in seconds.
    """

    authorities: tuple[x509.Certificate, ...]
    jwt_keys: tuple[tuple[Jwk, PublicKey], ...]
    sequence: int | None = None
    refresh_hint: int | None = None


class _Document(msgspec.Struct, omit_defaults=True):
    keys: list[Jwk]
    spiffe_sequence: int | None = None
    spiffe_refresh_hint: int | None = None


def document(
    authorities: Iterable[x509.Certificate],
    jwt_keys: Iterable[Jwk],
    sequence: int | None = None,
    refresh_hint: int | None = None,
) -> bytes:
    """The bundle of a trust domain, as a SPIFFE bundle endpoint serves it."""
    keys = [*map(_x509_jwk, authorities), *jwt_keys]
    return msgspec.json.encode(_Document(keys, sequence, refresh_hint))


def parse(content: bytes) -> SpiffeBundle:
    """Read a document; BundleRefused for one that is damaged, or that has a key which it should not.

    Keys of a kind or for a use that is unknown here are passed over, as the specification wants it.
    """
    if len(content) > LARGEST:
        raise BundleRefused(f"larger than {LARGEST} bytes")
    try:
        read = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRefused(f"not a SPIFFE bundle: {error}") from error
    if len(read.keys) > MOST_KEYS:
        raise BundleRefused(f"it has more than {MOST_KEYS} keys")
    authorities = tuple(_authority(key) for key in read.keys if key.use == X509_USE)
    found = [(key, public_of(key)) for key in read.keys if key.use == JWT_USE and key.kty in ("EC", "RSA")]
    jwt_keys = tuple((_told(key), public) for key, public in found if algorithms(public))
    if not authorities and not jwt_keys:
        raise BundleRefused("it has no key that we can use")
    return SpiffeBundle(authorities, jwt_keys, read.spiffe_sequence, read.spiffe_refresh_hint)


def jwt_jwk(key_id: str, x: str, y: str) -> Jwk:
    """The P-256 key with these coordinates, as one that signs JWT-SVIDs."""
    return Jwk("EC", JWT_USE, key_id, "P-256", x, y, alg="ES256")


def jwk_set(keys: Iterable[Jwk]) -> bytes:
    """JWT keys as the Workload API gives them out: nothing but the keys."""
    return msgspec.json.encode(_Document(list(keys)))


def _authority(key: Jwk) -> x509.Certificate:
    """The certificate in *key*: one, and an authority's."""
    if len(key.x5c) != 1:
        raise BundleRefused(f"an X.509 key comes with {len(key.x5c)} certificates instead of one")
    try:
        certificate = x509.load_der_x509_certificate(b64decode(key.x5c[0], validate=True))
        certificate.public_key()
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise BundleRefused("a certificate in it cannot be read, or is no authority's") from error
    if not basic.ca:
        raise BundleRefused(f"{describe(certificate)} is no authority's")
    return certificate


def public_of(key: Jwk) -> PublicKey:
    """The key that *key* describes; BundleRefused if that is none that a JWT-SVID may be signed with."""
    if not key.kid:
        raise BundleRefused("a JWT key has no kid")
    try:
        found = jwt.PyJWK(msgspec.to_builtins(_told(key))).key
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm) as error:
        raise BundleRefused(f"JWT key {key.kid[:64]!r} cannot be read") from error
    if isinstance(found, rsa.RSAPublicKey) and found.key_size < _SMALLEST_RSA:
        raise BundleRefused(f"JWT key {key.kid[:64]!r} has {found.key_size} bits, fewer than {_SMALLEST_RSA}")
    if not isinstance(found, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise BundleRefused(f"JWT key {key.kid[:64]!r} is not public")
    return found


def _told(key: Jwk) -> Jwk:
    """*key* without what is for X.509, and without the algorithm: the key itself says which it may be for."""
    return Jwk(key.kty, key.use, key.kid, key.crv, key.x, key.y, key.n, key.e)


def _x509_jwk(certificate: x509.Certificate) -> Jwk:
    der = b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        return Jwk("RSA", X509_USE, n=_integer(rsa_numbers.n), e=_integer(rsa_numbers.e), x5c=[der])
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
        x, y = (base64url(each.to_bytes(size, "big")) for each in (numbers.x, numbers.y))
        return Jwk("EC", X509_USE, crv=_CURVES.get(key.curve.name, key.curve.name), x=x, y=y, x5c=[der])
    raise BundleRefused(f"{describe(certificate)} has a key of a kind that bundles do not know")


_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def _integer(number: int) -> str:
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def pem(authorities: Sequence[x509.Certificate]) -> tuple[str, ...]:
    """Each of *authorities* in PEM."""
    return tuple(each.public_bytes(serialization.Encoding.PEM).decode() for each in authorities)
