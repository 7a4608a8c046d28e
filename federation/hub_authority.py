"""The hub's authorities: the root and the hub CA, made at the first start and opened at each later one.

Their keys are sealed with a passphrase. A hub alone that was given none makes a random one and keeps it
beside them, which protects copies of single files and nothing more; README says so.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from federation.authority_files import Files, Folder, InStore
from federation.errors import WrongFederation
from pki import keystore, profile
from pki.authority import Authority, describe, from_pem, new_root, to_pem
from pki.bundle import spki_sha256
from pki.csr import VerifiedCsr
from pki.errors import CannotIssue, CannotUnseal
from pki.lifetimes import Lifetimes
from pki.rotation import Validity, due, jitter_of
from pki.sealing import Seal
from pki.signer import KeySigner
from pki.spiffe import trust_domain_of

UNSEAL_KEY: Final = "unseal.key"
ROOT: Final = "root.pem"
ROOT_KEY: Final = "root.key.sealed"
HUB_CA: Final = "hub-ca.pem"
HUB_CA_KEY: Final = "hub-ca.key.sealed"
CERTIFICATE: Final = "hub.pem"
KEY: Final = "hub.key"


@dataclass(frozen=True, slots=True)
class Successor:
    """The root that is to come, and the hub CA that is to sign under it."""

    root: x509.Certificate
    hub_ca: Authority


@dataclass(slots=True)
class HubAuthority:
    """What the hub signs with, and whom everybody trusts in the end.

    It changes in place, and whoever has it sees that. While one root takes over from another there is a
    *successor*, and later, when that has become the root, a *former* one.
    """

    domain: str
    root: x509.Certificate
    hub_ca: Authority
    successor: Successor | None = None
    former: x509.Certificate | None = None
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    has_root_key: bool = True
    """Whether the root's key is here, and so the hub CA renewed by itself."""

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The roots of the federation, the oldest first."""
        former = (self.former,) if self.former else ()
        return (*former, self.root, *((self.successor.root,) if self.successor else ()))

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots of the federation, PEM, the oldest first."""
        return tuple(to_pem([root]) for root in self.certificates)

    @property
    def pins(self) -> tuple[str, ...]:
        """What a join token says of the roots, so that a newcomer knows the hub."""
        return tuple(spki_sha256(root) for root in self.certificates)

    def become(self, other: "HubAuthority") -> None:
        """Be as *other* is."""
        self.root, self.hub_ca, self.has_root_key = other.root, other.hub_ca, other.has_root_key
        self.successor, self.former = other.successor, other.former

    def sign_issuing_ca(self, csr: VerifiedCsr, cluster: str, now: datetime) -> tuple[str, ...]:
        """A cluster's issuing CA and what leads up to the root, each PEM."""
        hub_ca = self.hub_ca
        described = profile.issuing_ca(trust_domain_of(cluster, self.domain), self.lifetimes.issuing_ca)
        certificate = hub_ca.issue(described, csr, now)
        return tuple(to_pem([c]) for c in (certificate, *hub_ca.chain))

    def write_certificate(self, state: Path, names: tuple[str, ...], now: datetime) -> x509.Certificate:
        """Make the hub a certificate of its own for *names*, in `CERTIFICATE` and `KEY` of *state*."""
        described = profile.hub(self.domain, names, self.lifetimes.hub)
        return write_certificate(self.hub_ca, described, now, state / CERTIFICATE, state / KEY)

    def renew_hub_ca(self, vault: "Vault", now: datetime) -> None:
        """Have the root certify the hub CA anew, with the same key, so that what it signed stays good.

        Takes a while: the root's key is unsealed for it, and for nothing else.
        """
        if not self.has_root_key:
            raise CannotIssue(describe(self.root), "its key is not kept here")
        above = Authority(self.root, (), vault.signer(ROOT_KEY))
        signer = self.hub_ca.signer
        described = profile.hub_ca(self.domain, self.lifetimes.hub_ca)
        certificate = above.issue(described, signer.public_key(), now)
        vault.files.replace({HUB_CA: to_pem([certificate]).encode()})
        self.hub_ca = Authority(certificate, (), signer)


def write_certificate(
    hub_ca: Authority, described: profile.Profile, now: datetime, chain: Path, key: Path
) -> x509.Certificate:
    """Have *hub_ca* make a hub's certificate as *described*, in the files *chain* and *key* of one folder."""
    signer = KeySigner.generate()
    certificate = hub_ca.issue(described, signer.public_key(), now)
    files = {chain.name: to_pem([certificate, *hub_ca.chain]).encode(), key.name: signer.private_pem()}
    keystore.write_all(chain.parent, files)
    return certificate


@dataclass(frozen=True, slots=True)
class Vault:
    """The authorities' files, and the passphrase of the keys: the operator's, or our own.

    They are in the hub's folder *state* unless they are *elsewhere*. *lifetimes* is how long what is signed
    with them is good.
    """

    state: Path
    passphrase: bytes | None = field(default=None, repr=False)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    elsewhere: Files | None = None

    @property
    def files(self) -> Files:
        """Where they are."""
        return self.elsewhere or Folder(self.state)

    @property
    def shared(self) -> InStore | None:
        """The store, if the files are in one that several hubs share."""
        return self.elsewhere if isinstance(self.elsewhere, InStore) else None

    def copied(self) -> "Vault":
        """This vault; of one that is shared a copy, which changes nothing for others."""
        return replace(self, elsewhere=self.shared.copy()) if self.shared else self

    def sealed(self, signer: KeySigner) -> bytes:
        """What to keep of a key."""
        return self.seal().closed(signer.private_pem())

    def signer(self, name: str) -> KeySigner:
        """The key in the file *name*."""
        try:
            return KeySigner.from_pem(self.seal().opened(self.files.read(name)))
        except CannotUnseal as error:
            raise CannotUnseal(error.reason, f"{self.files.where}/{name}") from error

    def certificates(self, name: str) -> tuple[x509.Certificate, ...]:
        """The certificates in the file *name*."""
        return from_pem(self.files.read(name))

    def has(self, name: str) -> bool:
        """Whether there is a file *name*."""
        return self.files.has(name)

    def authority(self, certificate: str, key: str) -> Authority:
        """The authority in the files *certificate* and *key*."""
        own, *above = self.certificates(certificate)
        return Authority(own, tuple(above), self.signer(key))

    def seal(self) -> Seal:
        """What closes and opens the keys."""
        if self.passphrase is not None:
            return Seal(self.passphrase)
        own = self.state / UNSEAL_KEY
        if not own.exists():
            keystore.write(own, new_unseal_key())
        return Seal(keystore.read(own))


def new_unseal_key() -> bytes:
    """A passphrase of our own, for a hub that was given none."""
    return secrets.token_hex(32).encode()


def open_or_create(
    state: Path, domain: str, passphrase: bytes | None, now: datetime, made: Callable[[], None]
) -> HubAuthority:
    """Open the authorities in *state*; at the first start make them, and call *made*.

    Half-way through its life the hub CA is certified anew, with the same key, so that what it signed
    stays good. Raises WrongFederation if they are those of another domain.
    """
    vault = Vault(state, passphrase)
    create_at_first(vault, domain, now, made)
    return open_authority(vault, domain, now)


def create_at_first(
    vault: Vault, domain: str, now: datetime, made: Callable[[], None], root: Authority | None = None
) -> None:
    """Make the authorities, and call *made*, if there are none; below *root* if that is brought along."""
    if not vault.has(ROOT):
        _create(vault, domain, now, root or new_root(domain, KeySigner.generate(), now))
        made()


def open_authority(vault: Vault, domain: str, now: datetime, *, renew: bool = True) -> HubAuthority:
    """Open the authorities that are there, and with *renew* have the hub CA certified anew if that is due."""
    (root,) = vault.certificates(ROOT)
    hub_ca = vault.authority(HUB_CA, HUB_CA_KEY)
    if set(profile.hub_ca(domain).subject) - set(hub_ca.certificate.subject):
        raise WrongFederation(vault.files.where, domain)
    authority = HubAuthority(domain, root, hub_ca, lifetimes=vault.lifetimes)
    authority.has_root_key = vault.has(ROOT_KEY)
    if (
        renew
        and authority.has_root_key
        and due(now, Validity.of(hub_ca.certificate), jitter_of(hub_ca.certificate))
    ):
        authority.renew_hub_ca(vault, now)
    return authority


def _create(vault: Vault, domain: str, now: datetime, root: Authority) -> None:
    hub_signer = KeySigner.generate()
    hub_ca = root.subordinate(profile.hub_ca(domain, vault.lifetimes.hub_ca), hub_signer, now)
    files = {
        ROOT: to_pem([root.certificate]).encode(),
        HUB_CA: to_pem([hub_ca.certificate]).encode(),
        HUB_CA_KEY: vault.sealed(hub_signer),
    }
    if isinstance(root.signer, KeySigner):
        files[ROOT_KEY] = vault.sealed(root.signer)
    vault.files.replace(files)
