"""When an agent mints, renews and forgets SVIDs."""

from datetime import timedelta

import pytest

from federation.svids import Svids
from pki.authority import from_pem
from pki.bundle import check_svid
from pki.errors import CannotIssue
from pki.lifetimes import ISSUING_CA_LIFETIME
from pki.profile import issuing_ca
from pki.signer import KeySigner
from pki.spiffe import workload_id
from tests.authorities import NOW, Authorities

TRUST_DOMAIN = "onprem.fed.example"
WEB = workload_id(TRUST_DOMAIN, "shop", "web")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def pki() -> Authorities:
    return Authorities()


@pytest.fixture
def svids(pki: Authorities) -> Svids:
    return Svids(pki.issuing_ca("onprem"), jitter=lambda: 0.5)


def test_an_svid_proves_its_id_under_the_issuing_ca(svids: Svids, pki: Authorities) -> None:
    chain = svids.get(WEB, NOW).chain_pem
    anchors = [pki.issuing_ca("onprem").certificate]
    assert check_svid(chain, anchors, TRUST_DOMAIN, NOW) == WEB


def test_an_svid_is_kept_for_half_of_its_life_and_then_replaced(svids: Svids) -> None:
    first = svids.get(WEB, NOW)
    assert svids.get(WEB, NOW + HOUR * 0.4) is first
    assert not svids.is_due(NOW + HOUR * 0.4)
    assert svids.is_due(NOW + HOUR * 0.6)
    assert svids.get(WEB, NOW + HOUR * 0.6).serial != first.serial


def test_who_is_refused_has_no_svid_until_that_is_taken_back(svids: Svids) -> None:
    cart = workload_id(TRUST_DOMAIN, "shop", "cart")
    first, other = svids.get(WEB, NOW), svids.get(cart, NOW)
    svids.refuse(frozenset({WEB}))
    with pytest.raises(CannotIssue, match="sa/web is revoked"):
        svids.get(WEB, NOW)
    assert svids.all() == (other,)
    svids.refuse(frozenset())
    assert svids.get(WEB, NOW).serial != first.serial


def test_an_svid_that_cannot_be_renewed_is_used_to_its_end(svids: Svids) -> None:
    late = NOW + ISSUING_CA_LIFETIME - HOUR * 0.5
    last = svids.get(WEB, late)
    assert last.validity.not_after == NOW + ISSUING_CA_LIFETIME
    with pytest.raises(CannotIssue):
        svids.get(WEB, NOW + ISSUING_CA_LIFETIME)


def test_an_svid_never_outlives_its_issuer(svids: Svids, pki: Authorities) -> None:
    late = NOW + ISSUING_CA_LIFETIME - timedelta(minutes=10)
    (leaf, *_) = from_pem(svids.get(WEB, late).chain_pem)
    assert leaf.not_valid_after_utc == pki.issuing_ca("onprem").certificate.not_valid_after_utc


def test_one_that_nobody_asks_for_any_more_is_forgotten_when_it_ends(svids: Svids) -> None:
    svids.get(WEB, NOW)
    svids.drop_expired(NOW + HOUR * 0.9)
    assert len(svids.all()) == 1
    svids.drop_expired(NOW + HOUR)
    assert svids.all() == ()


def test_the_key_is_not_in_the_repr(svids: Svids) -> None:
    svid = svids.get(WEB, NOW)
    assert "PRIVATE KEY" in svid.key_pem
    assert "PRIVATE KEY" not in repr(svid)


def test_one_of_few_seconds_is_not_born_due(pki: Authorities) -> None:
    """It begins before its issue, but by a small part of its life only."""
    svids = Svids(pki.issuing_ca("onprem"), lifetime=timedelta(seconds=6), jitter=lambda: 0.5)
    first = svids.get(WEB, NOW)
    assert not svids.is_due(NOW + timedelta(seconds=1))
    assert svids.is_due(NOW + timedelta(seconds=4))
    assert svids.get(WEB, NOW + timedelta(seconds=4)).serial != first.serial


def test_another_issuing_ca_signs_what_is_minted_from_then_on(svids: Svids, pki: Authorities) -> None:
    first = svids.get(WEB, NOW)
    described = issuing_ca(TRUST_DOMAIN)
    another = pki.hub_ca.subordinate(described, KeySigner.generate(), NOW)
    svids.issue_by(another)
    assert svids.get(WEB, NOW) is first
    chain = svids.get(WEB, NOW + HOUR * 0.6).chain_pem
    assert check_svid(chain, [another.certificate], TRUST_DOMAIN, NOW + HOUR * 0.6) == WEB


def test_what_is_outdated_is_minted_anew_once(svids: Svids) -> None:
    first = svids.get(WEB, NOW)
    svids.outdate()
    assert svids.count_due(NOW) == 1
    second = svids.get(WEB, NOW)
    assert second.serial != first.serial
    assert svids.get(WEB, NOW) is second


def test_one_that_was_minted_while_the_clock_was_ahead_is_replaced(svids: Svids) -> None:
    ahead = svids.get(WEB, NOW + HOUR * 5)
    assert svids.get(WEB, NOW).serial != ahead.serial
