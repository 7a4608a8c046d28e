"""What certificates say, and what an authority refuses to sign."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import profile
from pki.authority import Authority, describe, from_pem, new_root, sign, to_pem
from pki.errors import CannotIssue, CertificateRefused, KeystoreError
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, workload_id
from tests.authorities import NOW, Authorities

ONPREM = "onprem.fed.example"
CART = workload_id(ONPREM, "shop", "cart")
FED = Authorities()
KEY = KeySigner.generate()


def extension(
    certificate: x509.Certificate, kind: type[x509.ExtensionType]
) -> x509.Extension[x509.ExtensionType]:
    return certificate.extensions.get_extension_for_class(kind)


@pytest.mark.parametrize(
    ("certificate", "lifetime", "path_length"),
    [
        (FED.root.certificate, timedelta(days=3652), None),
        (FED.hub_ca.certificate, timedelta(days=90), 1),
        (FED.issuing_ca("onprem").certificate, timedelta(days=14), 0),
    ],
)
def test_an_authority_signs_certificates_and_nothing_else(
    certificate: x509.Certificate, lifetime: timedelta, path_length: int | None
) -> None:
    assert extension(certificate, x509.BasicConstraints).value == x509.BasicConstraints(True, path_length)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert not usage.digital_signature
    assert certificate.not_valid_after_utc == NOW + lifetime
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)


def test_an_issuing_ca_is_bound_to_the_bare_host_of_its_trust_domain() -> None:
    found = extension(FED.issuing_ca("onprem").certificate, x509.NameConstraints)
    assert found.critical
    constraints = found.value
    assert isinstance(constraints, x509.NameConstraints)
    assert constraints.permitted_subtrees == [x509.UniformResourceIdentifier(ONPREM)]
    assert next(name.value for name in constraints.excluded_subtrees or []) == ""
    assert len(constraints.excluded_subtrees or []) == 3


def test_an_svid_carries_one_name_in_a_critical_extension_and_no_subject() -> None:
    svid = FED.svid(CART).certificate
    names = extension(svid, x509.SubjectAlternativeName)
    assert names.critical
    assert names.value == x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(CART))])
    assert svid.subject == x509.Name([])
    assert extension(svid, x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    usage = svid.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert extension(svid, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )


def test_an_svid_lives_for_an_hour_and_began_five_minutes_ago() -> None:
    svid = FED.svid(CART).certificate
    assert svid.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert svid.not_valid_after_utc == NOW + timedelta(hours=1)


def test_an_svid_ends_with_its_issuer_at_the_latest() -> None:
    issuing = FED.issuing_ca("onprem")
    late = NOW + timedelta(days=14, minutes=-10)
    assert issuing.issue(profile.svid(CART), KEY.public_key(), late).not_valid_after_utc == NOW + timedelta(
        days=14
    )


def test_an_svid_does_not_begin_before_its_issuer() -> None:
    issuing = FED.issuing_ca("onprem")
    early = NOW - timedelta(minutes=4)
    begins = issuing.issue(profile.svid(CART), KEY.public_key(), early).not_valid_before_utc
    assert begins == issuing.certificate.not_valid_before_utc


def test_the_hub_has_its_id_and_the_names_that_it_is_dialled_by() -> None:
    certificate = FED.hub("hub.example.com", "192.0.2.1", "2001:db8::1").certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://fed.example/hub"]
    assert names.get_values_for_type(x509.DNSName) == ["hub.fedgate.internal", "hub.example.com"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [
        "192.0.2.1",
        "2001:db8::1",
    ]


def test_two_authorities_of_one_domain_have_different_subjects() -> None:
    assert new_root("fed.example", KEY, NOW).certificate.subject != FED.root.certificate.subject


def test_a_domain_that_is_longer_than_a_common_name_may_be_still_gets_its_authority() -> None:
    domain = ".".join(["a" * 50] * 3)
    root = new_root(domain, KEY, NOW)
    assert "a" * 50 in root.certificate.subject.rfc4514_string()


def test_an_authority_signs_nothing_before_it_begins_or_after_it_ends() -> None:
    for moment in (NOW - timedelta(minutes=6), NOW + timedelta(days=14)):
        with pytest.raises(CannotIssue, match="it is valid from"):
            FED.issuing_ca("onprem").issue(profile.svid(CART), KEY.public_key(), moment)


def test_an_issuing_ca_does_not_sign_for_another_trust_domain() -> None:
    stranger = SpiffeId("cloud.fed.example", "/ns/shop/sa/cart")
    with pytest.raises(CannotIssue, match="do not permit spiffe://cloud"):
        FED.issuing_ca("onprem").issue(profile.svid(stranger), KEY.public_key(), NOW)


def test_an_issuing_ca_does_not_sign_dns_names() -> None:
    with pytest.raises(CannotIssue, match="exclude"):
        FED.issuing_ca("onprem").issue(profile.hub(ONPREM), KEY.public_key(), NOW)


def test_path_lengths_are_kept() -> None:
    with pytest.raises(CannotIssue, match="path length is 0"):
        FED.issuing_ca("onprem").issue(profile.issuing_ca(ONPREM), KEY.public_key(), NOW)
    with pytest.raises(CannotIssue, match="path length is 1"):
        FED.hub_ca.issue(profile.hub_ca("fed.example"), KEY.public_key(), NOW)
    with pytest.raises(CannotIssue, match="path length is 0"):
        FED.issuing_ca("onprem").issue(profile.root("fed.example"), KEY.public_key(), NOW)


def test_an_authority_needs_the_key_of_its_certificate() -> None:
    with pytest.raises(CertificateRefused, match="not the signer's"):
        Authority(FED.root.certificate, (), KEY)


def test_the_chain_leads_up_to_the_root_and_leaves_it_out() -> None:
    assert FED.issuing_ca("onprem").chain == (FED.issuing_ca("onprem").certificate, FED.hub_ca.certificate)
    assert FED.hub_ca.chain == (FED.hub_ca.certificate,)


def test_any_signer_will_do_if_it_can_sign() -> None:
    class Elsewhere:
        """As a KMS would: the key is not here."""

        def __init__(self) -> None:
            self.asked = 0

        def public_key(self) -> ec.EllipticCurvePublicKey:
            return KEY.public_key()

        def sign(self, message: bytes) -> bytes:
            self.asked += 1
            return KEY.key.sign(message, ec.ECDSA(hashes.SHA256()))

    signer = Elsewhere()
    root = new_root("fed.example", signer, NOW)
    root.certificate.verify_directly_issued_by(root.certificate)
    assert signer.asked == 1


def test_certificates_survive_pem_and_rubbish_does_not_become_one() -> None:
    chain = FED.svid(CART).chain
    assert from_pem(to_pem(chain)) == chain
    with pytest.raises(CertificateRefused, match="not one or more PEM"):
        from_pem("hello")


def test_a_certificate_is_called_by_its_id_or_else_its_subject() -> None:
    assert describe(FED.svid(CART).certificate) == str(CART)
    assert "CN=fedgate issuing CA" in describe(FED.issuing_ca("onprem").certificate)
    nameless = sign(profile.Profile(timedelta(hours=1)), KEY.public_key(), issuer=None, signer=KEY, now=NOW)
    assert describe(nameless) == "without a name"


def test_a_key_survives_pem_and_shows_itself_nowhere_else() -> None:
    assert KeySigner.from_pem(KEY.private_pem()).public_key() == KEY.public_key()
    assert "PRIVATE" not in repr(KEY)
    for rubbish in (b"", b"hello", to_pem([FED.root.certificate]).encode()):
        with pytest.raises(KeystoreError):
            KeySigner.from_pem(rubbish)
