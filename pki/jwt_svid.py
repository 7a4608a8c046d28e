"""JWT-SVIDs: signing one, and holding one against the keys of its trust domain.

The signature is PyJWT's to make and to check; what the header and the claims may say is held here against the
SPIFFE specification, by a clock that is passed in.
"""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki.errors import InvalidSpiffeId, JwtRefused
from pki.jwk import base64url, thumbprint
from pki.signer import KeySigner
from pki.spiffe import SpiffeId

LIFETIME: Final = timedelta(minutes=5)
"""How long a JWT-SVID is good for: whoever sees one can use it meanwhile."""
LEEWAY: Final = timedelta(seconds=30)
"""By how much two clocks may differ."""

_LONGEST: Final = 16 * 1024
_HEADERS: Final = {"alg", "kid", "typ"}
_TYPES: Final = {None, "JWT", "JOSE"}
_EC: Final[Mapping[str, str]] = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
KeysOf = Callable[[str], Mapping[str, PublicKey]]
"""The JWT keys of a trust domain by their IDs; none for one that is not known."""

_jws = jwt.PyJWS()


@dataclass(frozen=True, slots=True)
class Validated:
    """Who a JWT-SVID proves its bearer to be, and all that it claims, as JSON."""

    spiffe_id: SpiffeId
    claims: bytes = field(repr=False)


class _Claims(msgspec.Struct):
    sub: str
    aud: str | list[str]
    exp: int | float
    nbf: int | float = 0


def sign(
    spiffe_id: SpiffeId,
    audience: Sequence[str],
    signer: KeySigner,
    now: datetime,
    lifetime: timedelta = LIFETIME,
) -> str:
    """A JWT-SVID of *spiffe_id* for *audience*."""
    issued = int(now.timestamp())
    claims = {
        "aud": list(audience),
        "exp": issued + int(lifetime.total_seconds()),
        "iat": issued,
        "sub": str(spiffe_id),
    }
    headers = {"kid": key_id(signer.public_key())}
    return _jws.encode(msgspec.json.encode(claims), signer.key, algorithm="ES256", headers=headers)


def validate(token: str, audience: str, keys_of: KeysOf, now: datetime) -> Validated:
    """Who *token* proves its bearer to be to *audience*; JwtRefused says why it proves nothing."""
    if len(token) > _LONGEST:
        raise JwtRefused(f"longer than {_LONGEST} characters")
    payload, claims = _unverified(token)
    try:
        spiffe_id = SpiffeId.parse(claims.sub)
    except InvalidSpiffeId as error:
        raise JwtRefused(str(error)) from error
    _check_signature(token, keys_of(spiffe_id.trust_domain), spiffe_id.trust_domain)
    if claims.exp <= (now - LEEWAY).timestamp():
        raise JwtRefused(f"it expired; now is {now}")
    if claims.nbf > (now + LEEWAY).timestamp():
        raise JwtRefused(f"it is not valid yet; now is {now}")
    if audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
        raise JwtRefused(f"it is not for {audience!r}")
    return Validated(spiffe_id, payload)


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The ID of a P-256 key: RFC 7638's thumbprint."""
    x, y = coordinates(key)
    return thumbprint(x, y)


def coordinates(key: ec.EllipticCurvePublicKey) -> tuple[str, str]:
    """The x and y of a P-256 key, as a JWK has them."""
    numbers = key.public_numbers()
    return base64url(numbers.x.to_bytes(32, "big")), base64url(numbers.y.to_bytes(32, "big"))


def public_key(x: str, y: str) -> ec.EllipticCurvePublicKey:
    """Undo `coordinates`; JwtRefused if there is no such point."""
    try:
        numbers = [int.from_bytes(urlsafe_b64decode(f"{each}=")) for each in (x, y)]
        return ec.EllipticCurvePublicNumbers(numbers[0], numbers[1], ec.SECP256R1()).public_key()
    except ValueError as error:
        raise JwtRefused("a key that is not on P-256") from error


def _unverified(token: str) -> tuple[bytes, _Claims]:
    """What *token* says, once its form is what the specification allows. Nothing of it is believed yet."""
    try:
        found = _jws.decode_complete(token, options={"verify_signature": False})
        payload: bytes = found["payload"]
        claims = msgspec.json.decode(payload, type=_Claims)
        header = msgspec.convert(found["header"], dict[str, object])
    except (jwt.PyJWTError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise JwtRefused("not a JWT with sub, aud and exp") from error
    if more := header.keys() - _HEADERS:
        raise JwtRefused(f"its header has {', '.join(sorted(more))}, which no JWT-SVID may have")
    if header.get("typ") not in _TYPES:
        raise JwtRefused("its type is neither JWT nor JOSE")
    return payload, claims


def _check_signature(token: str, keys: Mapping[str, PublicKey], trust_domain: str) -> None:
    """Refuse *token* unless one of *keys*, the one that it names if it names one, has signed it."""
    if not keys:
        raise JwtRefused(f"no JWT key of the trust domain {trust_domain} is known")
    named = jwt.get_unverified_header(token).get("kid")
    candidates = keys if named is None else {i: key for i, key in keys.items() if i == named}
    if not candidates:
        raise JwtRefused(f"the trust domain {trust_domain} has no JWT key {named!r}")
    for key in candidates.values():
        try:
            _jws.decode(token, key, algorithms=algorithms(key))
        except jwt.PyJWTError:
            continue
        return
    raise JwtRefused(f"it is not signed by a JWT key of {trust_domain}")


def algorithms(key: PublicKey) -> list[str]:
    """What may be signed with *key*; none for a key that no JWT-SVID may be signed with."""
    if isinstance(key, rsa.RSAPublicKey):
        return list(_RSA)
    return [_EC[key.curve.name]] if key.curve.name in _EC else []
