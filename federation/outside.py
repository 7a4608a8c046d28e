"""A hub CA that a root from outside certifies: by a request, so that the root's key is never here.

    hub-ca.key.sealed   made by `request`
    hub-ca.pem          put there by `install`, with what leads up to the root; and the root in root.pem
    root.key.sealed     is not there

What is installed has to lead everybody to the root: a certificate is made below it on trial, and verified as
members will verify those that count.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from federation.errors import RootDiffers
from federation.hub_authority import HUB_CA, HUB_CA_KEY, ROOT, Vault, create_at_first
from federation.settings import HubSettings
from pki import keystore, profile
from pki.authority import Authority, describe, from_pem, to_pem
from pki.bundle import check_issuing_ca, check_root, check_svid
from pki.csr import make_ca_csr
from pki.errors import CertificateRefused
from pki.signer import KeySigner
from pki.spiffe import agent_id, trust_domain_of

_TRIAL: Final = "trial"


def request(vault: Vault, domain: str, key: str = HUB_CA_KEY) -> str:
    """Ask for a hub CA, PEM, for the key in the file *key*; that is made if it is not there."""
    if not vault.has(key):
        vault.files.replace({key: vault.sealed(KeySigner.generate())})
    return make_ca_csr(vault.signer(key).key, profile.hub_ca(domain))


def install(vault: Vault, domain: str, chain_pem: str, now: datetime) -> Authority:
    """Keep the hub CA that a request was answered with; gives it. *chain_pem* ends with the root.

    Raises CertificateRefused for one that is not for our key, or that members would not believe, and
    RootDiffers if it is of another root than the present one.
    """
    hub_ca, root = certified(vault.signer(HUB_CA_KEY), domain, chain_pem, now)
    if vault.has(ROOT) and vault.certificates(ROOT) != (root,):
        raise RootDiffers
    files = {ROOT: to_pem([root]).encode(), HUB_CA: to_pem(hub_ca.chain).encode()}
    vault.files.replace(files)
    return hub_ca


def begin(vault: Vault, settings: HubSettings, now: datetime, made: Callable[[], None]) -> None:
    """Have at the first start what was brought along, or make it, and call *made*.

    At a later start the root is what it has become: what was brought along first does not count any more.
    """
    if vault.has(ROOT):
        return
    if settings.hub_ca_chain is not None:
        install(vault, settings.domain, settings.hub_ca_chain.read_text(), now)
        made()
        return
    root = None
    if settings.root_cert is not None and settings.root_key is not None:
        root = _root_in(settings.root_cert, settings.root_key, now)
    create_at_first(vault, settings.domain, now, made, root)


def write_request(settings: HubSettings, to: Path) -> None:
    """Ask for the hub CA of a hub that is to be started, in the file *to*."""
    with keystore.exclusive(settings.state):
        to.write_text(request(Vault(settings.state, settings.passphrase), settings.domain))


def _root_in(certificate: Path, key: Path, now: datetime) -> Authority:
    """The root in two files, of which the key's must be closed to others."""
    (root, *more) = from_pem(certificate.read_bytes())
    if more:
        raise CertificateRefused(describe(root), f"{certificate} has more than one certificate")
    check_root(root, now)
    return Authority(root, (), KeySigner.from_pem(keystore.read(key)))


def certified(
    signer: KeySigner, domain: str, chain_pem: str, now: datetime
) -> tuple[Authority, x509.Certificate]:
    """The hub CA for the key of *signer*, and its root, out of a chain that somebody gave us."""
    *chain, root = from_pem(chain_pem)
    if not chain:
        raise CertificateRefused(describe(root), "want the hub CA, what is between, and the root at the end")
    check_root(root, now)
    hub_ca = Authority(chain[0], tuple(chain[1:]), signer)
    _try(hub_ca, domain, root, now)
    return hub_ca, root


def _try(hub_ca: Authority, domain: str, root: x509.Certificate, now: datetime) -> None:
    """Make a cluster's certificates on trial, and see whether those who trust *root* believe them."""
    trust_domain = trust_domain_of(_TRIAL, domain)
    issuing = hub_ca.subordinate(profile.issuing_ca(trust_domain), KeySigner.generate(), now)
    check_issuing_ca(to_pem(issuing.chain), [root], trust_domain, now)
    agent = issuing.issue(profile.svid(agent_id(trust_domain)), KeySigner.generate().public_key(), now)
    check_svid(to_pem([agent, *issuing.chain]), [root], trust_domain, now)
