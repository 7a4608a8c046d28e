"""Gateways on other machines: whose certificate counts, and the one that they are shown."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clusters.admission import EnrolRequest
from clusters.identity import ClusterIdentity, Membership
from clusters.names import ClusterName
from clusters.trust import UnusedToken
from federation.api.enrol import Enrolment, EnrolmentTls
from federation.api.http import ApiError, application, served_on_tls
from federation.identity import Identity
from gateway.errors import GatewayRefused
from gateway.rpc import Peer, TlsMaterial
from gateway.spec import GatewaySpec, Role
from pki import profile
from pki.authority import Authority, to_pem
from pki.csr import make_csr
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, agent_id, gateway_id, workload_id
from pki.tokens import Token
from tests import builders
from tests.authorities import NOW, Authorities
from tests.federation.renewing import Clock

TRUST_DOMAIN = "onprem.fed.example"
SPEC = GatewaySpec("gw-1", frozenset(Role))
GATEWAY = gateway_id(TRUST_DOMAIN, "both", "gw-1")


@pytest.fixture(scope="module")
def pki() -> Authorities:
    return Authorities()


@pytest.fixture(scope="module")
def identity(pki: Authorities) -> ClusterIdentity:
    membership = Membership(ClusterName("onprem"), "fed.example", TRUST_DOMAIN, ("192.0.2.1:7444",), ())
    signer = KeySigner.generate()
    authority = pki.hub_ca.subordinate(profile.issuing_ca(TRUST_DOMAIN), signer, NOW)
    return ClusterIdentity(membership, authority, signer, (pki.root.certificate,))


@pytest.fixture(scope="module")
def enrolment(pki: Authorities, identity: ClusterIdentity) -> Enrolment:
    return Enrolment(Identity(identity), pki.roots, lambda: NOW, builders.audit())


def shown(authority: Authority, spiffe_id: SpiffeId) -> Peer:
    """Whoever has a certificate of *authority* for *spiffe_id*."""
    certificate = authority.issue(profile.svid(spiffe_id), KeySigner.generate().public_key(), NOW)
    return Peer("ipv4:192.0.2.2:1", spiffe_id, to_pem([certificate, *authority.chain]))


def test_an_enrolled_gateway_is_let_in(enrolment: Enrolment, identity: ClusterIdentity) -> None:
    enrolment.check(shown(identity.authority, GATEWAY), SPEC)


def test_there_may_be_a_thousand_tokens_that_nobody_has_used(
    pki: Authorities, identity: ClusterIdentity
) -> None:
    enrolment = Enrolment(Identity(identity), pki.roots, lambda: NOW, builders.audit())

    def make() -> Token:
        return enrolment.create("gw-1", "both", timedelta(hours=1), ("192.0.2.1:7446",))

    first, *_ = [make() for _ in range(1000)]
    with pytest.raises(ApiError, match="1000 tokens are unused"):
        make()
    csr = make_csr(ec.generate_private_key(ec.SECP256R1()))
    enrolment.redeem(EnrolRequest(first.id, first.secret, "gw-1", "both", csr))
    make()


def test_tokens_that_do_not_know_the_newest_root_are_told_until_they_are_used_or_over(
    pki: Authorities, identity: ClusterIdentity
) -> None:
    clock, roots, spent = Clock(), pki.roots, list[str]()
    enrolment = Enrolment(
        Identity(identity), roots, clock, builders.audit(), spent=lambda: spent.append("once")
    )

    def make(name: str, minutes: int) -> Token:
        return enrolment.create(name, "both", timedelta(minutes=minutes), ("192.0.2.1:7446",))

    used, later = make("used", 15), make("later", 30)
    assert enrolment.outdated() == ()
    roots.certificates = (*roots.certificates, Authorities().root.certificate)
    make("new", 60)
    assert [told.gateway for told in enrolment.outdated()] == ["later", "used"]
    csr = make_csr(ec.generate_private_key(ec.SECP256R1()))
    enrolment.redeem(EnrolRequest(used.id, used.secret, "used", "both", csr))
    assert spent == ["once"]
    assert enrolment.outdated() == (UnusedToken(later.id, "later", later.expires),)
    clock.goes_on(timedelta(minutes=31))
    assert enrolment.outdated() == ()


@pytest.mark.parametrize(
    "spiffe_id",
    [
        gateway_id(TRUST_DOMAIN, "ingress", "gw-1"),
        gateway_id(TRUST_DOMAIN, "both", "gw-2"),
        workload_id(TRUST_DOMAIN, "shop", "frontend"),
        agent_id(TRUST_DOMAIN),
    ],
    ids=str,
)
def test_nobody_else_of_the_cluster_is(
    enrolment: Enrolment, identity: ClusterIdentity, spiffe_id: SpiffeId
) -> None:
    with pytest.raises(GatewayRefused, match=rf"not for {GATEWAY}$"):
        enrolment.check(shown(identity.authority, spiffe_id), SPEC)


def test_a_certificate_by_an_issuing_ca_that_a_rejoin_has_replaced_counts_no_more(
    enrolment: Enrolment, pki: Authorities
) -> None:
    replaced = pki.issuing_ca("onprem")
    with pytest.raises(GatewayRefused, match="not issued by anyone we trust"):
        enrolment.check(shown(replaced, GATEWAY), SPEC)


def test_who_shows_no_certificate_is_refused(enrolment: Enrolment) -> None:
    with pytest.raises(GatewayRefused):
        enrolment.check(Peer("ipv4:192.0.2.2:1"), SPEC)


async def test_who_enrols_is_shown_the_agents_newest_certificate(tmp_path: Path) -> None:
    pki = Authorities(datetime.now(UTC))

    def newest() -> TlsMaterial:
        credential = pki.agent("onprem")
        return TlsMaterial(credential.chain_pem, credential.key_pem, pki.root_pem)

    held = [newest()]
    tls = EnrolmentTls(tmp_path, lambda: held[-1])
    async with served_on_tls(application(), "127.0.0.1", 0, tls.context) as port:
        assert await asyncio.to_thread(certificate_at, port) == first(held[0])
        held.append(newest())
        tls.refresh()
        assert await asyncio.to_thread(certificate_at, port) == first(held[1])


def certificate_at(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


def first(material: TlsMaterial) -> str:
    end = "-----END CERTIFICATE-----\n"
    return material.chain.partition(end)[0] + end
