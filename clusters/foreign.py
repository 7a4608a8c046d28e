"""Trust domains outside of the federation: whose bundles are followed, and held to their own names."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from clusters.errors import InvalidValue
from pki.errors import InvalidSpiffeId
from pki.spiffe import SpiffeId


class Profile(StrEnum):
    """How a bundle endpoint proves itself: by a certificate of the web's, or by an X.509-SVID."""

    WEB = "https_web"
    SPIFFE = "https_spiffe"


@dataclass(frozen=True, slots=True)
class BundleEndpoint:
    """Where the bundle of *trust_domain* is fetched. With `https_spiffe`, *spiffe_id* is who serves it."""

    trust_domain: str
    url: str
    profile: Profile = Profile.WEB
    spiffe_id: str = ""

    def __post_init__(self) -> None:
        _trust_domain(self.trust_domain)
        _url(self.url)
        if self.profile is Profile.SPIFFE:
            if not self.spiffe_id:
                raise InvalidValue(
                    "bundle endpoint", self.url, "https_spiffe wants the SPIFFE ID of its server"
                )
            try:
                SpiffeId.parse(self.spiffe_id)
            except InvalidSpiffeId as error:
                raise InvalidValue("SPIFFE ID", self.spiffe_id, error.reason) from error
        elif self.spiffe_id:
            raise InvalidValue("bundle endpoint", self.url, "a SPIFFE ID makes sense with https_spiffe alone")

    @property
    def proven_by(self) -> str:
        """The trust domain whose bundle proves the server; empty if that is the web's business."""
        return SpiffeId.parse(self.spiffe_id).trust_domain if self.spiffe_id else ""


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """What a trust domain outside is known by: X.509 authorities in PEM, and JWT keys, each a JWK in JSON."""

    trust_domain: str
    authorities: tuple[str, ...] = ()
    jwt_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _trust_domain(self.trust_domain)


def outside(trust_domain: str, federation: str) -> str:
    """Check that *trust_domain* is none of *federation*'s: not its own, and no member's, now or later."""
    if trust_domain == federation or trust_domain.endswith(f".{federation}"):
        raise InvalidValue("trust domain", trust_domain, f"it belongs to this federation, {federation}")
    return trust_domain


def _trust_domain(text: str) -> None:
    try:
        SpiffeId(text)
    except InvalidSpiffeId as error:
        raise InvalidValue("trust domain", text[:256], error.reason) from error


def _url(text: str) -> None:
    """Check what the specification wants of an endpoint's URL."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text or len(text) > 2048:
        raise InvalidValue("URL", text[:256], "want https://HOST[:PORT]/PATH")
    if parts.username is not None or parts.password is not None:
        raise InvalidValue("URL", parts.hostname or "", "a bundle endpoint takes no user and no password")
