"""Public keys as JSON: JWKs of P-256 keys, and their names. Light enough for the command line."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256


def base64url(content: bytes) -> str:
    """Bytes as JOSE has them: base64url without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def thumbprint(x: str, y: str) -> str:
    """RFC 7638's name of the P-256 key with these coordinates."""
    members = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
    return base64url(sha256(members.encode()).digest())


def jwk_set(keys: Iterable[tuple[str, str, str]]) -> bytes:
    """A JWK set of P-256 keys that sign JWT-SVIDs: each an ID and two coordinates."""
    entries = [
        {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": key_id, "use": "jwt-svid", "alg": "ES256"}
        for key_id, x, y in keys
    ]
    return json.dumps({"keys": entries}).encode()
