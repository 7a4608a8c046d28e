"""One root follows another: who comes to trust it, and by which cross-certificate."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki import profile
from pki.authority import new_root, sign
from pki.bundle import fingerprint, root_of
from pki.errors import CertificateRefused
from pki.signer import KeySigner
from pki.succession import accepted, bundle_hash, cross_certificate
from tests.authorities import NOW, Authorities
from tests.builders import DOMAIN
from tests.pki.openssl import openssl_objection

Roots = Sequence[x509.Certificate]

OLD, NEW, THIRD = (new_root(DOMAIN, KeySigner.generate(), NOW) for _ in range(3))
CROSS = cross_certificate(NEW.certificate, OLD, NOW)


def take(
    told: Roots, crosses: Roots, trusted: Roots = (OLD.certificate,), now: timedelta = timedelta()
) -> tuple[x509.Certificate, ...]:
    return accepted(trusted, told, crosses, NOW + now)


def test_a_new_root_counts_for_those_who_trust_the_root_that_vouches_for_it() -> None:
    """old root ── cross-certificate ≙ new root"""
    told = (OLD.certificate, NEW.certificate)
    assert take(told, (CROSS,)) == told


def test_openssl_leads_a_chain_of_the_new_root_to_the_old_by_the_cross_certificate(
    tmp_path: Path,
) -> None:
    """old root ── cross-certificate ── hub CA ── hub"""
    hub_ca = NEW.subordinate(profile.hub_ca(DOMAIN), KeySigner.generate(), NOW)
    hub = hub_ca.issue(profile.hub(DOMAIN), KeySigner.generate().public_key(), NOW)
    chain = (hub, *hub_ca.chain)
    assert openssl_objection(tmp_path, (*chain, CROSS), (OLD.certificate,), NOW) == ""
    assert openssl_objection(tmp_path, chain, (NEW.certificate,), NOW) == ""
    assert openssl_objection(tmp_path, chain, (OLD.certificate,), NOW) != ""


def test_a_root_that_nobody_vouches_for_is_refused() -> None:
    with pytest.raises(CertificateRefused, match="nobody whom we trust vouches for it"):
        take((OLD.certificate, NEW.certificate), ())


def test_no_roots_at_all_are_refused() -> None:
    with pytest.raises(CertificateRefused, match="there are none"):
        take((), (CROSS,))


def test_of_two_roots_one_may_go_and_the_other_stays() -> None:
    both = (OLD.certificate, NEW.certificate)
    assert take((NEW.certificate,), (), trusted=both) == (NEW.certificate,)
    assert take((OLD.certificate,), (), trusted=both) == (OLD.certificate,)


def test_who_was_away_while_two_roots_followed_each_other_takes_both_at_once() -> None:
    second = cross_certificate(THIRD.certificate, NEW, NOW)
    told = (OLD.certificate, NEW.certificate, THIRD.certificate)
    assert take(tuple(reversed(told)), (second, CROSS)) == tuple(reversed(told))


def by_another() -> tuple[x509.Certificate, x509.Certificate]:
    """another root ── cross-certificate"""
    return NEW.certificate, cross_certificate(NEW.certificate, THIRD, NOW)


def for_another() -> tuple[x509.Certificate, x509.Certificate]:
    """A cross-certificate with the new root's name, and another key."""
    described = profile.Profile(timedelta(days=30), is_ca=True)
    key, subject = KeySigner.generate().public_key(), NEW.certificate.subject
    issuer = OLD.certificate
    return NEW.certificate, sign(described, key, issuer=issuer, signer=OLD.signer, now=NOW, subject=subject)


def no_authority() -> tuple[x509.Certificate, x509.Certificate]:
    """A cross-certificate that is no CA's."""
    described = profile.Profile(timedelta(days=30))
    key, subject = NEW.signer.public_key(), NEW.certificate.subject
    issuer = OLD.certificate
    return NEW.certificate, sign(described, key, issuer=issuer, signer=OLD.signer, now=NOW, subject=subject)


def too_short() -> tuple[x509.Certificate, x509.Certificate]:
    """A root with room for one CA below it, where there are two."""
    signer = KeySigner.generate()
    described = replace(profile.root(DOMAIN), path_length=1)
    root = sign(described, signer.public_key(), issuer=None, signer=signer, now=NOW)
    return root, by_old(root)


def not_signed_by_itself() -> tuple[x509.Certificate, x509.Certificate]:
    """A hub CA that is told as a root."""
    hub_ca = OLD.subordinate(profile.hub_ca(DOMAIN), KeySigner.generate(), NOW).certificate
    return hub_ca, by_old(hub_ca)


def by_old(root: x509.Certificate) -> x509.Certificate:
    """old root ── cross-certificate, for whatever *root* is"""
    described = profile.Profile(timedelta(days=30), is_ca=True)
    key = root.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    issuer, subject = OLD.certificate, root.subject
    return sign(described, key, issuer=issuer, signer=OLD.signer, now=NOW, subject=subject)


FAULTS = {
    "not issued by anyone we trust": by_another,
    "it is not for the root": for_another,
    "it is not an authority's": no_authority,
    "its path length 1 is exceeded": too_short,
    "it has not signed itself": not_signed_by_itself,
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_root_is_refused_with_what_is_wrong(reason: str) -> None:
    root, cross = FAULTS[reason]()
    with pytest.raises(CertificateRefused, match=reason):
        take((OLD.certificate, root), (cross,))


def test_a_cross_certificate_ends_with_the_root_that_gave_it() -> None:
    late = new_root(DOMAIN, KeySigner.generate(), NOW + timedelta(days=1000))
    cross = cross_certificate(late.certificate, OLD, NOW + timedelta(days=1000))
    assert cross.not_valid_after_utc == OLD.certificate.not_valid_after_utc
    with pytest.raises(CertificateRefused, match="expired"):
        take((late.certificate,), (cross,), now=timedelta(days=4000))


def test_a_root_with_an_rsa_key_can_be_vouched_for() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company Root")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3000))
    for extension in OLD.certificate.extensions:
        if extension.critical:
            builder = builder.add_extension(extension.value, critical=True)
    root = builder.sign(key, hashes.SHA256())
    assert take((root,), (cross_certificate(root, OLD, NOW),)) == (root,)


def test_which_root_a_chain_leads_to() -> None:
    fed = Authorities()
    chain, roots = fed.agent("onprem").chain, (OLD.certificate, fed.root.certificate)
    assert root_of(chain, roots) == fed.root.certificate
    assert root_of(chain, roots[:1]) is None


def test_a_bundles_hash_tells_roots_apart_and_not_their_order() -> None:
    one, two = OLD.certificate, NEW.certificate
    assert bundle_hash((one, two)) == bundle_hash((two, one)) != bundle_hash((one,))
    assert fingerprint(one) != fingerprint(two)
