"""Chains, good and bad: each a function with the chain drawn; OpenSSL is asked beside our own verifier."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import profile
from pki.authority import Authority, new_root, sign, to_pem
from pki.bundle import check_issuing_ca, check_svid, spiffe_id_of, spki_sha256
from pki.errors import CertificateRefused
from pki.profile import Profile
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, workload_id
from tests.authorities import NOW, Authorities
from tests.pki.openssl import openssl_objection

ONPREM = "onprem.fed.example"
CART = workload_id(ONPREM, "shop", "cart")
THEIRS = workload_id("cloud.fed.example", "shop", "cart")
FED = Authorities()
ISSUING = FED.issuing_ca("onprem")
ROOTS = (FED.root.certificate,)
ANCHORS = (ISSUING.certificate,)

Chain = Sequence[x509.Certificate]


def mint(
    issuer: Authority, described: Profile, signer: KeySigner | None = None
) -> tuple[x509.Certificate, ...]:
    """Sign without asking whether one may, as somebody with a stolen key would."""
    key = (signer or KeySigner.generate()).public_key()
    return (sign(described, key, issuer=issuer.certificate, signer=issuer.signer, now=NOW), *issuer.chain)


def below(issuer: Authority, described: Profile) -> Authority:
    """An authority that was signed without asking."""
    signer = KeySigner.generate()
    certificate, *above = mint(issuer, described, signer)
    return Authority(certificate, tuple(above), signer)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def leaf(*names: x509.GeneralName) -> Profile:
    return replace(profile.svid(CART), names=names)


def free_ca() -> Profile:
    """An issuing CA without constraints."""
    return replace(profile.issuing_ca(ONPREM), constraints=None)


def accept_svid(chain: Chain, anchors: Chain = ANCHORS) -> SpiffeId:
    return check_svid(to_pem(chain), anchors, ONPREM, NOW)


def accept_issuing_ca(chain: Chain, roots: Chain = ROOTS) -> x509.Certificate:
    return check_issuing_ca(to_pem(chain), roots, ONPREM, NOW)


# --- what is accepted, by OpenSSL too ---------------------------------------------------------


def test_an_svid_proves_its_id_under_its_issuing_ca(tmp_path: Path) -> None:
    """[issuing CA] ── SVID"""
    chain = FED.svid(CART).chain
    assert accept_svid(chain) == CART
    assert accept_svid(chain[:1]) == CART
    assert openssl_objection(tmp_path, chain[:1], ANCHORS, NOW) == ""


def test_an_svid_proves_its_id_under_the_root(tmp_path: Path) -> None:
    """[root] ── hub CA ── issuing CA ── SVID"""
    chain = FED.svid(CART).chain
    assert accept_svid(chain, ROOTS) == CART
    assert openssl_objection(tmp_path, chain, ROOTS, NOW) == ""


def test_an_issuing_ca_is_good_under_the_root(tmp_path: Path) -> None:
    """[root] ── hub CA ── issuing CA"""
    assert accept_issuing_ca(ISSUING.chain) == ISSUING.certificate
    assert openssl_objection(tmp_path, ISSUING.chain, ROOTS, NOW) == ""


def test_the_hub_is_good_under_the_root(tmp_path: Path) -> None:
    """[root] ── hub CA ── hub"""
    chain = FED.hub("hub.example.com", "192.0.2.1").chain
    assert check_svid(to_pem(chain), ROOTS, "fed.example", NOW) == SpiffeId("fed.example", "/hub")
    assert openssl_objection(tmp_path, chain, ROOTS, NOW) == ""


def test_each_of_two_roots_is_enough_during_a_rollover() -> None:
    """[other root], [root] ── hub CA ── issuing CA"""
    other = new_root("fed.example", KeySigner.generate(), NOW).certificate
    assert accept_issuing_ca(ISSUING.chain, (other, *ROOTS)) == ISSUING.certificate


def test_a_chain_may_bring_its_root_along() -> None:
    """[root] ── hub CA ── issuing CA, root"""
    assert accept_issuing_ca((*ISSUING.chain, *ROOTS)) == ISSUING.certificate


# --- SVIDs that are refused, and by OpenSSL where it can know ---------------------------------

BadChain = Callable[[], Chain]


def id_of_another_cluster() -> Chain:
    """[onprem's issuing CA] ── cloud's ID"""
    return mint(ISSUING, profile.svid(THEIRS))


def id_below_the_trust_domain() -> Chain:
    """[onprem's issuing CA] ── x.onprem.fed.example"""
    return mint(ISSUING, profile.svid(SpiffeId(f"x.{ONPREM}", "/agent")))


def svid_with_a_dns_name() -> Chain:
    """[issuing CA] ── SVID + hub.fedgate.internal"""
    return mint(ISSUING, leaf(uri(str(CART)), x509.DNSName("hub.fedgate.internal")))


def svid_with_an_address() -> Chain:
    """[issuing CA] ── SVID + 192.0.2.1"""
    names = profile.hub(ONPREM, ("192.0.2.1",)).names
    return mint(ISSUING, leaf(uri(str(CART)), names[-1]))


def authority_below_an_issuing_ca() -> Chain:
    """[issuing CA] ── another CA ── SVID"""
    return mint(below(ISSUING, profile.issuing_ca(ONPREM)), profile.svid(CART))


def signed_by_an_svid() -> Chain:
    """[issuing CA] ── SVID ── SVID"""
    return mint(below(ISSUING, profile.svid(CART)), profile.svid(CART))


def of_another_federation() -> Chain:
    """another root ── hub CA ── issuing CA ── SVID"""
    return Authorities().svid(CART).chain


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (id_of_another_cluster, "may sign names of onprem.fed.example only"),
        (id_below_the_trust_domain, "may sign names of onprem.fed.example only"),
        (svid_with_a_dns_name, "may not sign the name hub.fedgate.internal"),
        (svid_with_an_address, "may not sign the name 192.0.2.1"),
        (authority_below_an_issuing_ca, "path length 0 is exceeded"),
        (signed_by_an_svid, "not an authority's"),
        (of_another_federation, "not issued by anyone we trust"),
    ],
)
@pytest.mark.parametrize("anchors", [ANCHORS, ROOTS], ids=["issuing CA", "root"])
def test_an_svid_that_both_verifiers_refuse(
    bad: BadChain, reason: str, anchors: Chain, tmp_path: Path
) -> None:
    chain = bad()
    with pytest.raises(CertificateRefused, match=reason):
        accept_svid(chain, anchors)
    assert openssl_objection(tmp_path, chain, anchors, NOW)


def two_ids() -> Chain:
    """[issuing CA] ── two URIs"""
    return mint(ISSUING, leaf(uri(str(CART)), uri(f"spiffe://{ONPREM}/agent")))


def no_id() -> Chain:
    """[issuing CA] ── no name"""
    return mint(ISSUING, leaf())


def id_out_of_normal_form() -> Chain:
    """[issuing CA] ── spiffe://onprem.fed.example/ns//sa"""
    return mint(ISSUING, leaf(uri(f"spiffe://{ONPREM}/ns/../agent")))


def an_authoritys() -> Chain:
    """[issuing CA]"""
    return ISSUING.chain


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (two_ids, "2 URI names"),
        (no_id, "0 URI names"),
        (id_out_of_normal_form, "may sign names of|relative segment"),
        (an_authoritys, "an authority's, not an SVID"),
    ],
)
def test_an_svid_that_the_specification_does_not_allow(bad: BadChain, reason: str) -> None:
    with pytest.raises(CertificateRefused, match=reason):
        accept_svid(bad(), ROOTS)


def test_an_svid_of_another_trust_domain_is_refused_even_if_its_chain_is_good() -> None:
    """[root] ── hub CA ── cloud's issuing CA ── cloud's ID"""
    with pytest.raises(CertificateRefused, match="not of the trust domain onprem"):
        accept_svid(FED.svid(THEIRS).chain, ROOTS)


@pytest.mark.parametrize(
    ("moment", "reason"),
    [(NOW - timedelta(minutes=6), "not valid before"), (NOW + timedelta(minutes=61), "expired")],
)
def test_an_svid_is_refused_outside_of_its_validity(moment: datetime, reason: str, tmp_path: Path) -> None:
    chain = FED.svid(CART).chain
    with pytest.raises(CertificateRefused, match=reason):
        check_svid(to_pem(chain), ANCHORS, ONPREM, moment)
    assert openssl_objection(tmp_path, chain, ANCHORS, moment)


def test_an_anchor_that_has_expired_vouches_for_nobody(tmp_path: Path) -> None:
    """[expired issuing CA] ── SVID that outlives it"""
    signer, moment = KeySigner.generate(), NOW + timedelta(days=15)
    expired = mint(FED.hub_ca, profile.issuing_ca(ONPREM), signer)[0]
    longer = mint(FED.hub_ca, replace(profile.issuing_ca(ONPREM), lifetime=timedelta(days=60)), signer)
    svid = mint(Authority(longer[0], longer[1:], signer), profile.svid(CART, timedelta(days=30)))[:1]
    assert check_svid(to_pem(svid), longer[:1], ONPREM, moment) == CART
    with pytest.raises(CertificateRefused, match=r"issuing CA.* refused: expired"):
        check_svid(to_pem(svid), (expired,), ONPREM, moment)
    assert openssl_objection(tmp_path, svid, (expired,), moment)


# --- issuing CAs that are refused -------------------------------------------------------------


def without_constraints() -> Chain:
    """[root] ── hub CA ── CA for anybody"""
    return mint(FED.hub_ca, free_ca())


def of_another_trust_domain() -> Chain:
    """[root] ── hub CA ── cloud's issuing CA"""
    return FED.issuing_ca("cloud").chain


def with_wider_constraints() -> Chain:
    """[root] ── hub CA ── CA for onprem and cloud"""
    mine, theirs = profile.constraints_for(ONPREM), profile.constraints_for("cloud.fed.example")
    both = [*(mine.permitted_subtrees or []), *(theirs.permitted_subtrees or [])]
    return mint(
        FED.hub_ca, replace(free_ca(), constraints=x509.NameConstraints(both, mine.excluded_subtrees))
    )


def that_may_sign_dns_names() -> Chain:
    """[root] ── hub CA ── CA for onprem's URIs, silent about DNS names"""
    constraints = x509.NameConstraints(profile.constraints_for(ONPREM).permitted_subtrees, None)
    return mint(FED.hub_ca, replace(free_ca(), constraints=constraints))


def with_room_below() -> Chain:
    """[root] ── CA with path length 1"""
    return mint(FED.root, replace(profile.issuing_ca(ONPREM), path_length=1))


def an_svid() -> Chain:
    """[root] ── hub CA ── issuing CA ── SVID"""
    return FED.svid(CART).chain


def without_the_middle() -> Chain:
    """[root] ── … ── issuing CA"""
    return ISSUING.chain[:1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (without_constraints, "no critical name constraints"),
        (of_another_trust_domain, "not those of onprem.fed.example"),
        (with_wider_constraints, "not those of onprem.fed.example"),
        (that_may_sign_dns_names, "not those of onprem.fed.example"),
        (with_room_below, "path length is not 0"),
        (an_svid, "not an authority's"),
        (without_the_middle, "not issued by anyone we trust"),
    ],
)
def test_an_issuing_ca_that_is_not_what_it_must_be(bad: BadChain, reason: str) -> None:
    with pytest.raises(CertificateRefused, match=reason):
        accept_issuing_ca(bad())


def test_a_chain_without_end_is_refused() -> None:
    with pytest.raises(CertificateRefused, match="more than 6"):
        accept_issuing_ca(ISSUING.chain * 4)
    with pytest.raises(CertificateRefused, match="longer than"):
        check_issuing_ca("#" * 70_000, ROOTS, ONPREM, NOW)


def test_constraints_that_are_not_ours_are_not_guessed_at() -> None:
    """[root] ── hub CA ── CA with a leading dot ── SVID"""
    dotted = replace(free_ca(), constraints=profile.constraints_for(f".{ONPREM}"))
    with pytest.raises(CertificateRefused, match=r"may sign names of \.onprem"):
        accept_svid(mint(below(FED.hub_ca, dotted), profile.svid(CART)), ROOTS)


def test_a_forged_signature_is_not_believed() -> None:
    """[issuing CA] ┄┄ SVID, signed with a key of the same name"""
    forger = KeySigner.generate()
    forged = sign(
        profile.svid(CART),
        forger.public_key(),
        issuer=ISSUING.certificate,
        signer=forger,
        now=NOW,
    )
    with pytest.raises(CertificateRefused, match="not issued by anyone we trust"):
        accept_svid([forged])


# --- certificates that say something else than a profile can --------------------------------------


def edited(chain: Chain, issuer: Authority, *changes: tuple[x509.ExtensionType, bool]) -> Chain:
    """Sign the first certificate of *chain* again, with *changes* in place of extensions of their kinds."""
    first, *above = chain
    builder = (
        x509.CertificateBuilder()
        .subject_name(first.subject)
        .issuer_name(first.issuer)
        .public_key(first.public_key())
        .serial_number(first.serial_number)
        .not_valid_before(first.not_valid_before_utc)
        .not_valid_after(first.not_valid_after_utc)
    )
    changed = {value.oid for value, _ in changes}
    kept = [(e.value, e.critical) for e in first.extensions if e.oid not in changed]
    for value, critical in (*kept, *changes):
        builder = builder.add_extension(value, critical)
    assert isinstance(issuer.signer, KeySigner)
    return (builder.sign(issuer.signer.key, hashes.SHA256()), *above)


USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
MORE_USES = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in (*USES, *MORE_USES)})


SVID = FED.svid(CART).chain
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"")


@pytest.mark.parametrize(
    ("change", "critical", "reason"),
    [
        (usage("key_agreement"), True, "not for digital signatures alone"),
        (usage("digital_signature", "key_cert_sign"), True, "not for digital signatures alone"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False, "not for both ends of TLS"),
        (STRANGE, True, "the critical extension 1.3.6.1.4.1.99999.1"),
    ],
)
def test_an_svid_whose_extensions_are_not_an_svids(
    change: x509.ExtensionType, critical: bool, reason: str
) -> None:
    with pytest.raises(CertificateRefused, match=reason):
        accept_svid(edited(SVID, ISSUING, (change, critical)))


def test_an_extension_that_nobody_need_understand_does_no_harm() -> None:
    assert accept_svid(edited(SVID, ISSUING, (STRANGE, False))) == CART


def test_name_constraints_that_a_verifier_may_skip_are_none() -> None:
    """[root] ── hub CA ── issuing CA with constraints that are not critical"""
    chain = edited(ISSUING.chain, FED.hub_ca, (profile.constraints_for(ONPREM), False))
    with pytest.raises(CertificateRefused, match="no critical name constraints"):
        accept_issuing_ca(chain)


def test_an_authority_whose_key_is_not_for_certificates_is_none() -> None:
    """[root] ── hub CA ── issuing CA for signing anything but certificates"""
    chain = edited(ISSUING.chain, FED.hub_ca, (usage("digital_signature"), True))
    with pytest.raises(CertificateRefused, match="not for signing certificates"):
        accept_issuing_ca(chain)


def test_an_svid_below_constraints_of_another_kind_is_refused() -> None:
    """[root] ── hub CA ── CA for onprem's URIs, silent about DNS names ── SVID"""
    constraints = x509.NameConstraints(profile.constraints_for(ONPREM).permitted_subtrees, None)
    silent = below(FED.hub_ca, replace(free_ca(), constraints=constraints))
    with pytest.raises(CertificateRefused, match="of a kind that we do not use"):
        accept_svid(mint(silent, profile.svid(CART)), ROOTS)


# --- pins and names ---------------------------------------------------------------------------


def test_a_pin_belongs_to_the_key_and_not_to_the_certificate() -> None:
    signer = KeySigner.generate()
    one = new_root("fed.example", signer, NOW).certificate
    renewed = new_root("fed.example", signer, NOW + timedelta(days=1)).certificate
    assert one != renewed
    assert spki_sha256(one) == spki_sha256(renewed) != FED.pin
    assert len(bytes.fromhex(FED.pin)) == 32


def test_the_id_is_read_without_believing_it() -> None:
    assert spiffe_id_of(id_of_another_cluster()[0]) == THEIRS
