"""What a P-256 key is called, and how JOSE writes bytes. Light enough for the command line."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256


def base64url(content: bytes) -> str:
    """Bytes as JOSE has them: base64url without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def thumbprint(x: str, y: str) -> str:
    """RFC 7638's name of the P-256 key with these coordinates."""
    members = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
    return base64url(sha256(members.encode()).digest())
