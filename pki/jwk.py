"""Public keys as JSON: JWKs, and the names of P-256 keys. Light enough for the command line."""

from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec


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


def base64url(content: bytes) -> str:
    """Bytes as JOSE has them: base64url without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def thumbprint(x: str, y: str) -> str:
    """RFC 7638's name of the P-256 key with these coordinates."""
    members = msgspec.json.encode({"crv": "P-256", "kty": "EC", "x": x, "y": y})
    return base64url(sha256(members).digest())


def jwt_jwk(key_id: str, x: str, y: str) -> Jwk:
    """The P-256 key with these coordinates, as one that signs JWT-SVIDs."""
    return Jwk("EC", "jwt-svid", key_id, "P-256", x, y, alg="ES256")
