"""An authority: a CA certificate and whoever signs with its key. It signs what a profile describes."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import Buffer
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki import profile as profiles
from pki.errors import CannotIssue, CertificateRefused
from pki.profile import Profile
from pki.signer import Signer
from pki.spiffe import SpiffeId

_KEY_ID_IN_SUBJECT: Final = 8

# Names of attributes for people that RFC 4514 leaves as numbers.
_ATTRIBUTES: Final = {NameOID.SERIAL_NUMBER: "serialNumber"}
_BOTH_ENDS: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
"""What a certificate may be for. Only roots from outside have RSA keys."""


class Authority:
    """A CA that can sign: its certificate, those above it up to but without the root, and its signer."""

    def __init__(
        self, certificate: x509.Certificate, chain_above: tuple[x509.Certificate, ...], signer: Signer
    ) -> None:
        if certificate.public_key() != signer.public_key():
            raise CertificateRefused(describe(certificate), "its key is not the signer's")
        self.certificate = certificate
        self.chain_above = chain_above
        self.signer = signer

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate, and what leads from there up to the root."""
        return (self.certificate, *self.chain_above)

    def issue(
        self, profile: Profile, public_key: ec.EllipticCurvePublicKey, now: datetime
    ) -> x509.Certificate:
        """Sign a certificate that verifiers will accept from this authority; refuse any other."""
        reason = _objection(self.certificate, profile, now)
        if reason:
            raise CannotIssue(describe(self.certificate), reason)
        return sign(profile, public_key, issuer=self.certificate, signer=self.signer, now=now)

    def subordinate(self, profile: Profile, signer: Signer, now: datetime) -> "Authority":
        """An authority below this one, for whoever has the key of *signer*."""
        certificate = self.issue(profile, signer.public_key(), now)
        return Authority(certificate, () if is_self_signed(self.certificate) else self.chain, signer)


def new_root(domain: str, signer: Signer, now: datetime) -> Authority:
    """A self-signed root for the federation of *domain*."""
    return Authority(
        sign(profiles.root(domain), signer.public_key(), issuer=None, signer=signer, now=now), (), signer
    )


def sign(
    profile: Profile,
    public_key: PublicKey,
    *,
    issuer: x509.Certificate | None,
    signer: Signer,
    now: datetime,
    subject: x509.Name | None = None,
) -> x509.Certificate:
    """Sign what *profile* says, no questions asked; without an *issuer* it signs itself.

    The certificate begins a little before *now*, and lies within the validity of its issuer. *subject* is
    for a CA whose name is not ours to give.
    """
    begins, ends = (
        now.replace(microsecond=0) - profile.backdate,
        now.replace(microsecond=0) + profile.lifetime,
    )
    subject = subject or subject_of(profile, public_key)
    if issuer is not None:
        begins = max(begins, issuer.not_valid_before_utc)
        ends = min(ends, issuer.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension, critical in _extensions(profile, public_key, signer.public_key()):
        builder = builder.add_extension(extension, critical)
    return builder.sign(_SignerKey(signer), hashes.SHA256())


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether this is a root."""
    return certificate.subject == certificate.issuer


def describe(certificate: x509.Certificate) -> str:
    """Name a certificate in an error or a table: by its SPIFFE ID or subject. Safe for any certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        uris = []
    return uris[0] if uris else _subject_of(certificate)


def _subject_of(certificate: x509.Certificate) -> str:
    try:
        return certificate.subject.rfc4514_string(_ATTRIBUTES) or "without a name"
    except ValueError:
        return "with a name that cannot be read"


def to_pem(certificates: Iterable[x509.Certificate]) -> str:
    """Write certificates one after the other, as a chain file has them."""
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certificates)


def from_pem(pem: str | bytes) -> tuple[x509.Certificate, ...]:
    """Read one or more certificates."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode() if isinstance(pem, str) else pem))
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateRefused("in PEM", "not one or more PEM certificates") from error


def _objection(issuer: x509.Certificate, profile: Profile, now: datetime) -> str:
    """Say why a certificate like this would not be accepted from *issuer*, or nothing."""
    begins, ends = issuer.not_valid_before_utc, issuer.not_valid_after_utc
    if not begins <= now < ends:
        return f"it is valid from {begins} to {ends}, and now is {now}"
    below, constraints = _limits(issuer)
    if profile.is_ca and below is not None and (profile.path_length or 0) >= below:
        return f"its path length is {below}"
    if constraints is None:
        return ""
    for name in profile.names:
        if not isinstance(name, x509.UniformResourceIdentifier):
            return f"its name constraints exclude {name.value}"
        if constraints != profiles.constraints_for(SpiffeId.parse(name.value).trust_domain):
            return f"its name constraints do not permit {name.value}"
    return ""


@lru_cache(maxsize=64)
def _limits(issuer: x509.Certificate) -> tuple[int | None, x509.NameConstraints | None]:
    """Path length and name constraints of an authority, if it has any."""
    below = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    try:
        return below, issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return below, None


def subject_of(profile: Profile, public_key: PublicKey) -> x509.Name:
    """Tell an authority's keys apart by name too: verifiers look issuers up by subject."""
    if not profile.is_ca:
        return x509.Name(profile.subject)
    key_id = x509.SubjectKeyIdentifier.from_public_key(public_key).digest.hex()
    return x509.Name(
        [*profile.subject, x509.NameAttribute(NameOID.SERIAL_NUMBER, key_id[:_KEY_ID_IN_SUBJECT])]
    )


def _extensions(
    profile: Profile, public_key: PublicKey, issuer_key: ec.EllipticCurvePublicKey
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """What the certificate says beyond its name and dates, and whether a verifier must understand it."""
    yield x509.BasicConstraints(profile.is_ca, profile.path_length), True
    yield key_usage(is_ca=profile.is_ca), True
    yield x509.SubjectKeyIdentifier.from_public_key(public_key), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False
    if not profile.is_ca:
        yield _BOTH_ENDS, False
    if profile.names:
        yield x509.SubjectAlternativeName(profile.names), not profile.subject
    if profile.constraints:
        yield profile.constraints, True


@lru_cache(maxsize=2)
def key_usage(*, is_ca: bool) -> x509.KeyUsage:
    """What a key is for: an authority's signs certificates, everybody else's signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


class _SignerKey(ec.EllipticCurvePrivateKey):
    """A signer in the shape that the certificate builder asks for. It has no key to give away."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._signer.public_key().curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._signer.public_key()

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        return self._signer.sign(bytes(data))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise NotImplementedError

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002 - the interface calls it so
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        raise NotImplementedError

    def __copy__(self) -> NoReturn:
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, object]) -> NoReturn:
        raise NotImplementedError
