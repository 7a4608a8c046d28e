"""What a hub renews: its certificate and the hub CA, while it runs."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from federation.hub_authority import CERTIFICATE, HubAuthority, Vault, open_or_create
from federation.hub_certificate import HubCertificate
from federation.hub_upkeep import HUB, HUB_CA, NEXT_HUB_CA, HubUpkeep
from federation.rollover.preparing import Given, prepare
from pki.authority import from_pem, to_pem
from pki.bundle import check_issuing_ca, check_svid
from pki.csr import make_csr, verify_csr
from pki.lifetimes import HUB_CA_LIFETIME, Lifetimes
from pki.signer import KeySigner
from tests.authorities import NOW
from tests.builders import DOMAIN, audit
from tests.federation.renewing import Clock

HUB_LIFETIME = timedelta(days=30)


class Hub:
    """A hub's upkeep, with a clock that a test sets."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.clock = Clock()
        self.elected = True
        self.authority: HubAuthority = open_or_create(state, DOMAIN, None, NOW, lambda: None)
        self.authority.lifetimes = Lifetimes(hub=HUB_LIFETIME)
        self.certificate = HubCertificate(state, self.authority, ("hub.example",), audit(), self.clock)
        vault, lock = Vault(state), asyncio.Lock()
        self.upkeep = HubUpkeep(
            vault, self.authority, self.certificate, lock, audit(), self.clock, lambda: self.elected
        )

    @property
    def shown(self) -> str:
        return self.certificate.material().chain

    async def renewed(self, *, force: bool = False) -> list[str]:
        return [item.what for item in (await self.upkeep.rotate(force=force)).done]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    return Hub(tmp_path_factory.mktemp("hub"))


async def test_each_is_renewed_at_half_of_its_life_and_what_was_signed_stays_good(hub: Hub) -> None:
    before = hub.shown
    assert await hub.renewed() == []
    hub.clock.goes_on(HUB_LIFETIME * 0.6)
    assert [item.what for item in (await hub.upkeep.rotate(dry_run=True)).due] == [HUB]
    assert hub.shown == before
    assert await hub.renewed() == [HUB]
    assert hub.shown != before
    hub.clock.goes_on(HUB_CA_LIFETIME * 0.6 - HUB_LIFETIME * 0.6)
    asked = verify_csr(make_csr(KeySigner.generate().key))
    issuing = "".join(hub.authority.sign_issuing_ca(asked, "onprem", hub.clock()))
    key_before = hub.authority.hub_ca.certificate.public_key()
    assert await hub.renewed() == [HUB_CA, HUB]
    assert hub.authority.hub_ca.certificate.public_key() == key_before
    check_svid(hub.shown, [hub.authority.root], DOMAIN, hub.clock())
    assert (hub.state / CERTIFICATE).read_text() == hub.shown
    fresh = to_pem([*from_pem(issuing)[:1], hub.authority.hub_ca.certificate])
    check_issuing_ca(fresh, [hub.authority.root], "onprem.fed.example", hub.clock())


async def test_the_hubs_certificate_ends_with_the_hub_ca_at_the_latest(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    hub.authority.lifetimes = Lifetimes()
    hub.clock.goes_on(timedelta(days=10))
    hub.certificate.issue()
    ends = hub.certificate.certificate.not_valid_after_utc
    assert ends == hub.authority.hub_ca.certificate.not_valid_after_utc < hub.clock() + Lifetimes().hub


async def test_a_rollover_that_waits_for_long_finds_the_hub_ca_of_its_root_fresh(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    vault = Vault(tmp_path)
    _, hub.authority.successor = prepare(vault, Given(), DOMAIN, hub.clock())
    hub.certificate.follow()
    for _ in range(4):
        hub.clock.goes_on(HUB_CA_LIFETIME * 0.56)
        assert await hub.renewed() == [HUB_CA, NEXT_HUB_CA, HUB]
        coming = hub.authority.successor
        assert vault.certificates("next-hub-ca.pem") == coming.hub_ca.chain
        check_svid((tmp_path / "next-hub.pem").read_text(), [coming.root], DOMAIN, hub.clock())
    (tmp_path / "next-root.key.sealed").unlink()
    hub.clock.goes_on(HUB_CA_LIFETIME * 0.56)
    (failed,) = (await hub.upkeep.rotate()).failed
    assert (failed.what, "abort the rollover" in failed.detail) == (NEXT_HUB_CA, True)


async def test_forced_all_is_renewed_and_shown(hub: Hub) -> None:
    before = hub.shown
    assert await hub.renewed(force=True) == [HUB_CA, HUB]
    assert hub.shown != before


async def test_without_the_roots_key_the_hub_says_so_and_goes_on(hub: Hub) -> None:
    sealed = hub.state / "root.key.sealed"
    content = sealed.read_bytes()
    sealed.unlink()
    try:
        outcome = await hub.upkeep.rotate(force=True)
    finally:
        sealed.write_bytes(content)
        sealed.chmod(0o600)
    assert [item.what for item in outcome.done] == [HUB]
    (failed,) = outcome.failed
    assert failed.what == HUB_CA
    assert "root.key.sealed" in failed.detail
