"""A hub CA that a company's root certifies: what is asked for, and what is taken."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from federation.errors import RootDiffers
from federation.hub_authority import HUB_CA_KEY, ROOT_KEY, Vault, open_authority
from federation.outside import install, request
from pki import profile
from pki.authority import Authority, from_pem, key_usage, new_root, sign, to_pem
from pki.csr import make_csr, verify_csr
from pki.errors import PkiError
from pki.signer import KeySigner
from tests.authorities import NOW
from tests.builders import DOMAIN


class Company:
    """A root that is kept elsewhere, and a CA below it that certifies others."""

    def __init__(self) -> None:
        self.root = new_root("company.example", KeySigner.generate(), NOW)
        signer, between = (
            KeySigner.generate(),
            profile.Profile(timedelta(days=900), is_ca=True, path_length=2),
        )
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company CA")])
        issuer = self.root.certificate
        certificate = sign(
            between, signer.public_key(), issuer=issuer, signer=self.root.signer, now=NOW, subject=name
        )
        self.between = Authority(certificate, (), signer)

    def certify(self, csr: str, described: profile.Profile | None = None, *, directly: bool = False) -> str:
        """The chain that answers *csr*, the root at its end."""
        by = self.root if directly else self.between
        asked = described or profile.hub_ca(DOMAIN)
        hub_ca = sign(asked, verify_csr(csr), issuer=by.certificate, signer=by.signer, now=NOW)
        above = () if directly else self.between.chain
        return to_pem([hub_ca, *above, self.root.certificate])


@pytest.fixture(scope="module")
def company() -> Company:
    return Company()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def test_a_request_says_what_is_wanted_and_is_for_a_key_that_stays_here(vault: Vault) -> None:
    csr = x509.load_pem_x509_csr(request(vault, DOMAIN).encode())
    wanted = csr.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (wanted.ca, wanted.path_length) == (True, 1)
    assert "CN=fedgate hub CA" in csr.subject.rfc4514_string()
    assert csr.public_key() == vault.signer(HUB_CA_KEY).public_key()
    again = x509.load_pem_x509_csr(request(vault, DOMAIN).encode())
    assert again.public_key() == csr.public_key()


@pytest.mark.parametrize("directly", [True, False])
def test_a_hub_works_below_a_root_whose_key_it_never_sees(
    company: Company, vault: Vault, directly: bool
) -> None:
    install(vault, DOMAIN, company.certify(request(vault, DOMAIN), directly=directly), NOW)
    authority = open_authority(vault, DOMAIN, NOW)
    assert authority.certificates == (company.root.certificate,)
    assert not vault.has(ROOT_KEY)
    assert len(authority.sign_issuing_ca(verify_csr(request(vault, DOMAIN)), "west", NOW)) == 3 - directly


def test_it_is_certified_anew_by_the_same_root_and_by_no_other(company: Company, vault: Vault) -> None:
    install(vault, DOMAIN, company.certify(request(vault, DOMAIN)), NOW)
    install(vault, DOMAIN, company.certify(request(vault, DOMAIN)), NOW)
    with pytest.raises(RootDiffers):
        install(vault, DOMAIN, Company().certify(request(vault, DOMAIN)), NOW)


def test_it_is_used_to_its_end_when_nobody_here_can_renew_it(company: Company, vault: Vault) -> None:
    install(vault, DOMAIN, company.certify(request(vault, DOMAIN)), NOW)
    late = NOW + profile.hub_ca(DOMAIN).lifetime * 0.9
    assert open_authority(vault, DOMAIN, late).hub_ca.certificate.not_valid_before_utc < NOW


FAULTS: dict[str, Callable[[Company, str], str]] = {
    "its key is not the signer's": lambda c, _: c.certify(make_csr(KeySigner.generate().key)),
    "its path length is 0": lambda c, csr: c.certify(csr, replace(profile.hub_ca(DOMAIN), path_length=0)),
    "not an authority": lambda c, csr: c.certify(
        csr, replace(profile.hub_ca(DOMAIN), is_ca=False, path_length=None)
    ),
    "want the hub CA": lambda c, _: to_pem([c.root.certificate]),
    "it has not signed itself": lambda c, csr: to_pem(from_pem(c.certify(csr))[:2]),
    "not issued by anyone we trust": lambda c, csr: to_pem(from_pem(c.certify(csr))[::2]),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_what_members_would_not_believe_is_refused_with_the_reason(
    company: Company, vault: Vault, reason: str
) -> None:
    csr = request(vault, DOMAIN)
    with pytest.raises(PkiError, match=reason):
        install(vault, DOMAIN, FAULTS[reason](company, csr), NOW)


def test_a_root_with_an_rsa_key_will_do(vault: Vault) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company Root")])
    ends = NOW + timedelta(days=3000)

    def built(
        subject: x509.Name, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, path: int | None
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).serial_number(7)
        builder = builder.not_valid_before(NOW - timedelta(hours=1)).not_valid_after(ends)
        builder = builder.public_key(public)
        builder = builder.add_extension(x509.BasicConstraints(True, path), critical=True)
        return builder.add_extension(key_usage(is_ca=True), critical=True).sign(key, hashes.SHA256())

    root = built(name, key.public_key(), None)
    csr = x509.load_pem_x509_csr(request(vault, DOMAIN).encode())
    asked = csr.public_key()
    assert isinstance(asked, ec.EllipticCurvePublicKey)
    hub_ca = built(csr.subject, asked, 1)
    install(vault, DOMAIN, to_pem([hub_ca, root]), NOW)
    assert open_authority(vault, DOMAIN, NOW).root == root
