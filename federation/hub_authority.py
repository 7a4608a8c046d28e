"""The hub's authorities: the root and the hub CA, made at the first start and opened at each later one.

Their keys are sealed on disk with a passphrase. Without one the hub makes a random one and keeps it
beside them, which protects copies of single files and nothing more; README says so.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from federation.errors import WrongFederation
from pki import keystore, profile
from pki.authority import Authority, from_pem, new_root, to_pem
from pki.bundle import spki_sha256
from pki.csr import VerifiedCsr
from pki.rotation import Validity, due
from pki.signer import KeySigner
from pki.spiffe import trust_domain_of

_UNSEAL_KEY: Final = "unseal.key"
_ROOT: Final = ("root.pem", "root.key.sealed")
_HUB_CA: Final = ("hub-ca.pem", "hub-ca.key.sealed")
CERTIFICATE: Final = "hub.pem"
KEY: Final = "hub.key"


@dataclass(frozen=True, slots=True)
class HubAuthority:
    """What the hub signs with, and whom everybody trusts in the end."""

    domain: str
    root: x509.Certificate
    hub_ca: Authority

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots of the federation, PEM."""
        return (to_pem([self.root]),)

    @property
    def pins(self) -> tuple[str, ...]:
        """What a join token says of the roots, so that a newcomer knows the hub."""
        return (spki_sha256(self.root),)

    def sign_issuing_ca(self, csr: VerifiedCsr, cluster: str, now: datetime) -> tuple[str, ...]:
        """A cluster's issuing CA and what leads up to the root, each PEM."""
        certificate = self.hub_ca.issue(profile.issuing_ca(trust_domain_of(cluster, self.domain)), csr, now)
        return tuple(to_pem([c]) for c in (certificate, *self.hub_ca.chain))

    def write_certificate(self, state: Path, names: tuple[str, ...], now: datetime) -> x509.Certificate:
        """Make the hub a certificate of its own for *names*, in `CERTIFICATE` and `KEY` of *state*."""
        signer = KeySigner.generate()
        certificate = self.hub_ca.issue(profile.hub(self.domain, names), signer.public_key(), now)
        chain = to_pem([certificate, *self.hub_ca.chain]).encode()
        keystore.write_all(state, {CERTIFICATE: chain, KEY: signer.private_pem()})
        return certificate


def open_or_create(
    state: Path, domain: str, passphrase_file: Path | None, now: datetime, made: Callable[[], None]
) -> HubAuthority:
    """Open the authorities in *state*; at the first start make them, and call *made*.

    Half-way through its life the hub CA is certified anew, with the same key, so that what it signed
    stays good. Raises WrongFederation if they are those of another domain.
    """
    passphrase = _passphrase(state, passphrase_file)
    if not (state / _ROOT[0]).exists():
        _create(state, domain, passphrase, now)
        made()
    (root,) = from_pem(keystore.read(state / _ROOT[0]).decode())
    if set(profile.root(domain).subject) - set(root.subject):
        raise WrongFederation(str(state), domain)
    signer = _unsealed(state / _HUB_CA[1], passphrase)
    (certificate,) = from_pem(keystore.read(state / _HUB_CA[0]).decode())
    if due(now, Validity.of(certificate), jitter=0.5):
        above = Authority(root, (), _unsealed(state / _ROOT[1], passphrase))
        certificate = above.issue(profile.hub_ca(domain), signer.public_key(), now)
        keystore.write(state / _HUB_CA[0], to_pem([certificate]).encode())
    return HubAuthority(domain, root, Authority(certificate, (), signer))


def _create(state: Path, domain: str, passphrase: bytes, now: datetime) -> None:
    root_signer, hub_signer = KeySigner.generate(), KeySigner.generate()
    root = new_root(domain, root_signer, now)
    hub_ca = root.subordinate(profile.hub_ca(domain), hub_signer, now)
    keystore.write_all(
        state,
        {
            _ROOT[0]: to_pem([root.certificate]).encode(),
            _ROOT[1]: keystore.seal(root_signer.private_pem(), passphrase),
            _HUB_CA[0]: to_pem([hub_ca.certificate]).encode(),
            _HUB_CA[1]: keystore.seal(hub_signer.private_pem(), passphrase),
        },
    )


def _unsealed(path: Path, passphrase: bytes) -> KeySigner:
    return KeySigner.from_pem(keystore.unseal(keystore.read(path), passphrase))


def _passphrase(state: Path, file: Path | None) -> bytes:
    """The operator's passphrase, or one of our own that we keep."""
    if file is not None:
        return keystore.read(file).strip()
    own = state / _UNSEAL_KEY
    if not own.exists():
        keystore.write(own, secrets.token_hex(32).encode())
    return keystore.read(own)
