"""A cluster's JWT keys as the other members know them: the public halves alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from clusters.errors import InvalidValue
from pki.jwk import thumbprint

MAX_JWT_KEYS: Final = 8
"""How many a cluster may have at a time; it has two or three."""

_LENGTH: Final = 43  # of 32 bytes in base64


@dataclass(frozen=True, slots=True)
class JwtKey:
    """The public half of a P-256 key that signs JWT-SVIDs: its ID, its coordinates as in a JWK, and its end.

    The ID is made of the coordinates, so that no key can go by the name of another.
    """

    id: str
    x: str
    y: str
    expires: datetime

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) == _LENGTH or self.id != thumbprint(self.x, self.y):
            raise InvalidValue("JWT key", self.id[:64], "its ID is not the thumbprint of a P-256 key")
        if self.expires.tzinfo is None:
            raise InvalidValue("JWT key", self.id, "its end has no time zone")


@dataclass(frozen=True, slots=True)
class JwtKeys:
    """The keys by which the JWT-SVIDs of *cluster* are known."""

    cluster: str
    keys: tuple[JwtKey, ...] = ()

    def __post_init__(self) -> None:
        if len(self.keys) > MAX_JWT_KEYS:
            raise InvalidValue("cluster", self.cluster, f"has more than {MAX_JWT_KEYS} JWT keys")
