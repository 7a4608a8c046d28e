"""Who holds a private key and signs with it: a key in memory today, a KMS or a PKCS#11 token one day."""

from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki.errors import KeystoreError


class Signer(Protocol):
    """The one thing an authority needs of its key. It never asks for the key itself."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The half that everybody may know."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256 over *message*, DER."""
        ...


def signed_by(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Whether whoever has the private half of *key* signed *message*."""
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


class KeySigner:
    """A P-256 key in this process."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "KeySigner":
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> "KeySigner":
        """Read what `private_pem` wrote."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise KeystoreError("not an unencrypted PEM private key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeystoreError("not an elliptic-curve private key")
        return cls(key)

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key itself: for whoever serves TLS with it, or keeps it."""
        return self._key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The half that everybody may know."""
        return self._key.public_key()

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256 over *message*, DER."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))

    def private_pem(self) -> bytes:
        """The key as unencrypted PKCS#8: seal it, or keep it in a 0600 file."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def private_der(self) -> bytes:
        """The same in DER."""
        return self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def __repr__(self) -> str:
        return "KeySigner(…)"
