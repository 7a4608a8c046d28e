"""A new root is prepared: made here, or brought along, and with it a hub CA that is to sign below it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from federation.errors import KeyElsewhere
from federation.hub_authority import HUB_CA, HUB_CA_KEY, ROOT, ROOT_KEY, Successor, Vault
from federation.outside import certified, request
from federation.registry.records import RolloverRecord
from federation.rollover.files import NEXT, put_next
from federation.rollover.phases import Phase
from pki import profile
from pki.authority import Authority, describe, from_pem, new_root, to_pem
from pki.bundle import check_cross, check_root, spki_sha256
from pki.errors import CannotIssue, CertificateRefused
from pki.signer import KeySigner
from pki.succession import cross_certificate

ASKED: Final = "asked-hub-ca.key.sealed"


@dataclass(frozen=True, slots=True)
class Given:
    """What is brought along, as far as it is not made here.

    *root* is the new root with its key. If that is kept elsewhere, *chain* is what it has certified instead:
    a hub CA for the key of our request, what is between, and the root, PEM. *cross* is the cross-certificate,
    PEM, if the key of the old root is kept elsewhere.
    """

    root: Authority | None = None
    chain: str = ""
    cross: str = ""


def request_next(vault: Vault, domain: str) -> str:
    """Ask for a hub CA below a root that is to come, PEM."""
    return request(vault, domain, ASKED)


def prepare(vault: Vault, given: Given, domain: str, now: datetime) -> tuple[RolloverRecord, Successor]:
    """Put the files of the new root and of a hub CA below it beside the present ones.

    What was prepared before, and never begun, is replaced. Gives the rollover for the registry, too.
    """
    (old,) = vault.certificates(ROOT)
    files: dict[str, bytes] = {}
    if given.chain:
        signer = vault.signer(ASKED)
        hub_ca, root = certified(signer, domain, given.chain, now)
    else:
        authority = given.root or new_root(domain, KeySigner.generate(), now)
        signer, root = KeySigner.generate(), authority.certificate
        check_root(root, now)
        hub_ca = authority.subordinate(profile.hub_ca(domain, vault.lifetimes.hub_ca), signer, now)
        if isinstance(authority.signer, KeySigner):
            files[ROOT_KEY] = vault.sealed(authority.signer)
    if spki_sha256(root) == spki_sha256(old):
        raise CertificateRefused("root", "it has the key of the present root: it would be no other")
    cross = _cross(vault, old, root, given, now)
    files[ROOT], files[HUB_CA] = to_pem([root]).encode(), to_pem(hub_ca.chain).encode()
    put_next(vault, files | {HUB_CA_KEY: vault.sealed(signer)})
    vault.files.remove([ASKED])
    record = RolloverRecord(Phase.SPREADING, to_pem([old]), to_pem([root]), to_pem([cross]), now)
    return record, Successor(root, hub_ca)


def renewed(vault: Vault, coming: Successor, domain: str, now: datetime) -> Successor:
    """Have the new root certify its hub CA anew, with the same key: a rollover may wait for long.

    Takes a while: the root's key is unsealed for it.
    """
    if not vault.has(f"{NEXT}{ROOT_KEY}"):
        reason = "its key is not kept here: abort the rollover, and start it again"
        raise CannotIssue(describe(coming.root), reason)
    above = Authority(coming.root, (), vault.signer(f"{NEXT}{ROOT_KEY}"))
    signer = coming.hub_ca.signer
    certificate = above.issue(profile.hub_ca(domain, vault.lifetimes.hub_ca), signer.public_key(), now)
    vault.files.replace({f"{NEXT}{HUB_CA}": to_pem([certificate]).encode()})
    return Successor(coming.root, Authority(certificate, (), signer))


def _cross(
    vault: Vault, old: x509.Certificate, root: x509.Certificate, given: Given, now: datetime
) -> x509.Certificate:
    """The cross-certificate: the one that was brought along, or one by the old root's key."""
    if given.cross:
        (cross,) = from_pem(given.cross)
        check_cross(cross, root, [old], now)
        return cross
    if not vault.has(ROOT_KEY):
        raise KeyElsewhere
    return cross_certificate(root, Authority(old, (), vault.signer(ROOT_KEY)), now)
