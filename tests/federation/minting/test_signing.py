"""What a worker signs, and what it refuses: one bad request takes nothing from the others."""

from datetime import timedelta
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.minting.signing import Asked, Mint, charge_of, shares
from pki.authority import from_pem
from pki.bundle import check_svid
from pki.csr import make_csr
from pki.signer import KeySigner
from pki.spiffe import agent_id, gateway_id, workload_id
from tests.authorities import NOW, Authorities

ONPREM = "onprem.fed.example"
PKI = Authorities()
ISSUING = PKI.issuing_ca("onprem")
CART = workload_id(ONPREM, "shop", "cart")
KEY = KeySigner.generate()
CSR = make_csr(KEY.key)
MINT = Mint(charge_of(ISSUING, ONPREM, timedelta(minutes=10)))


def forged() -> str:
    """A request for a key that its maker does not have."""
    lines = CSR.splitlines()
    flipped = lines[-2][:-6] + ("A" if lines[-2][-6] != "A" else "B") + lines[-2][-5:]
    return "\n".join([*lines[:-2], flipped, lines[-1], ""])


def test_an_svid_is_for_the_key_of_the_request_and_lives_as_long_as_it_is_told_to() -> None:
    (signed,) = MINT.sign([Asked(str(CART), CSR)], NOW)
    assert check_svid(signed.certificate, [ISSUING.certificate], ONPREM, NOW) == CART
    (certificate,) = from_pem(signed.certificate)
    assert certificate.public_key() == KEY.public_key()
    assert certificate.not_valid_after_utc == NOW + timedelta(minutes=10)
    assert signed.serial == f"{certificate.serial_number:x}"


@pytest.mark.parametrize(
    ("spiffe_id", "csr", "code"),
    [
        (str(workload_id("cloud.fed.example", "shop", "cart")), CSR, "not-yours"),
        (str(workload_id(f"x.{ONPREM}", "shop", "cart")), CSR, "not-yours"),
        (str(workload_id("fed.example", "shop", "cart")), CSR, "not-yours"),
        (f"spiffe://{ONPREM}", CSR, "not-yours"),
        (str(agent_id(ONPREM)), CSR, "not-yours"),
        (str(gateway_id(ONPREM, "ingress", "gw")), CSR, "not-yours"),
        (f"spiffe://{ONPREM}/ns/../agent", CSR, "bad-id"),
        ("cart", CSR, "bad-id"),
        (str(CART), forged(), "bad-csr"),
        (str(CART), "", "bad-csr"),
    ],
    ids=[
        "another cluster",
        "sub-host",
        "the federation",
        "no path",
        "the agent",
        "a gateway",
        "not normal",
        "no URI",
        "forged",
        "empty",
    ],
)
def test_a_bad_request_is_refused_and_those_beside_it_are_not(spiffe_id: str, csr: str, code: str) -> None:
    good = Asked(str(CART), CSR)
    before, bad, after = MINT.sign([good, Asked(spiffe_id, csr), good], NOW)
    assert (bad.certificate, bad.code) == ("", code)
    assert bad.reason
    assert before.certificate
    assert after.certificate


def test_an_issuing_ca_that_has_ended_signs_nothing() -> None:
    (signed,) = MINT.sign([Asked(str(CART), CSR)], NOW + timedelta(days=15))
    assert (signed.certificate, signed.code) == ("", "cannot-issue")


@given(st.integers(0, 200), st.integers(1, 8), st.integers(1, 20))
def test_shares_are_all_of_it_in_order_and_much_the_same(size: int, workers: int, least: int) -> None:
    asked = [Asked(str(n), "") for n in range(size)]
    parts = shares(asked, workers, least)
    assert list(chain(*parts)) == asked
    assert 1 <= len(parts) <= workers
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts) == 1 or min(map(len, parts)) >= least
