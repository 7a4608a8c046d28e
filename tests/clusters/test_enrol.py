"""A gateway enrols with an agent on loopback, and renews what it got."""

import stat
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest

from clusters.clock import utc_now
from clusters.enrol import Enrolled, enrol, load_enrolment, renew
from clusters.errors import IdentityUnusable, JoinRefused
from pki import keystore, profile
from pki.authority import from_pem, to_pem
from pki.bundle import spiffe_id_of
from pki.csr import make_csr, verify_csr
from pki.errors import OtherTokenKind
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, gateway_id
from pki.succession import cross_certificate
from pki.tokens import TokenKind, new_token
from tests.authorities import Authorities, Credential
from tests.clusters.https_server import Json, Server, serve

FED = Authorities(now=utc_now())
WEST = "west.fed.example"
EGRESS = gateway_id(WEST, "egress", "gw-1")


def token_line(*addresses: str, kind: TokenKind = TokenKind.GATEWAY) -> str:
    expires = utc_now() + timedelta(minutes=15)
    return new_token(kind, "gw-1", WEST, addresses, (FED.pin,), expires, "egress").text


def chain_for(request: Json, spiffe_id: SpiffeId = EGRESS) -> list[str]:
    issuing = FED.issuing_ca("west")
    svid = issuing.issue(profile.svid(spiffe_id), verify_csr(str(request["csr"])), utc_now())
    return [to_pem([certificate]) for certificate in (svid, *issuing.chain)]


def enrolling(request: Json, **changes: object) -> tuple[int, Json]:
    answer: Json = {
        "chain": chain_for(request),
        "roots": [FED.root_pem],
        "ads": "192.0.2.1:18000",
        "domain": "fed.example",
        "trust_domain": WEST,
    }
    return 200, {**answer, **changes}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Server]:
    with serve(FED.agent("west"), tmp_path, client_roots=FED.root_pem) as server:
        server.answers = {
            "/v1/root": lambda _: (200, FED.root_pem),
            "/v1/enrol": enrolling,
            "/v1/renew": lambda request: (200, {"chain": chain_for(request), "roots": [FED.root_pem]}),
        }
        yield server


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "gateway"


def certified(enrolled: Enrolled) -> tuple[SpiffeId, bool]:
    """The ID that is kept, and whether the key is the one for it."""
    certificate = from_pem(enrolled.chain_file.read_bytes())[0]
    key = KeySigner.from_pem(keystore.read(enrolled.key_file))
    return spiffe_id_of(certificate), certificate.public_key() == key.public_key()


def test_a_gateway_that_enrolled_has_a_certificate_for_its_role(agent: Server, state: Path) -> None:
    enrolled = enrol(token_line(agent.address), state)
    assert load_enrolment(state) == enrolled
    assert certified(enrolled) == (EGRESS, True)
    assert (enrolled.enrolment.ads, enrolled.enrolment.role) == ("192.0.2.1:18000", "egress")
    assert from_pem(enrolled.roots_file.read_bytes()) == (FED.root.certificate,)
    assert timedelta(minutes=59) < enrolled.validity.not_after - utc_now() <= timedelta(hours=1)


def test_what_an_enrolment_keeps_is_for_nobody_else(agent: Server, state: Path) -> None:
    enrol(token_line(agent.address), state)
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}


def test_a_gateway_may_enrol_again_over_what_it_has(agent: Server, state: Path) -> None:
    before = enrol(token_line(agent.address), state).key_file.read_bytes()
    assert enrol(token_line(agent.address), state).key_file.read_bytes() != before


def test_a_join_token_does_not_enrol_a_gateway(agent: Server, state: Path) -> None:
    with pytest.raises(OtherTokenKind):
        enrol(token_line(agent.address, kind=TokenKind.JOIN), state)


@pytest.mark.parametrize(
    "impostor",
    [FED.agent("cloud"), FED.svid(EGRESS), FED.hub(), Authorities(now=FED.now).agent("west")],
    ids=["another cluster's agent", "a gateway", "the hub", "another federation's agent"],
)
def test_nobody_but_the_clusters_own_agent_sees_the_secret(
    impostor: Credential, tmp_path: Path, state: Path
) -> None:
    with serve(impostor, tmp_path) as server:
        server.answers["/v1/root"] = lambda _: (200, FED.root_pem)
        with pytest.raises(JoinRefused) as caught:
            enrol(token_line(server.address), state)
        assert caught.value.code == "wrong-server"
        assert [path for path, _ in server.asked] == ["/v1/root"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (gateway_id(WEST, "ingress", "gw-1"), "not for spiffe://west.fed.example/gateway/egress/gw-1"),
        (gateway_id(WEST, "egress", "gw-2"), "not for"),
        (gateway_id("cloud.fed.example", "egress", "gw-1"), "may sign names of|not permit|trust domain"),
    ],
)
def test_a_certificate_for_another_gateway_is_not_kept(
    wrong: SpiffeId, reason: str, agent: Server, state: Path
) -> None:
    def answer(request: Json) -> tuple[int, Json]:
        cluster = wrong.trust_domain.partition(".")[0]
        issuing = FED.issuing_ca(cluster)
        svid = issuing.issue(profile.svid(wrong), verify_csr(str(request["csr"])), utc_now())
        return enrolling(request, chain=[to_pem([c]) for c in (svid, *issuing.chain)])

    agent.answers["/v1/enrol"] = answer
    with pytest.raises(JoinRefused, match=reason) as caught:
        enrol(token_line(agent.address), state)
    assert caught.value.code == "answer-unusable"
    with pytest.raises(IdentityUnusable, match="no gateway has enrolled"):
        load_enrolment(state)


def test_a_certificate_for_another_key_is_not_kept(agent: Server, state: Path) -> None:
    request = {"csr": make_csr(KeySigner.generate().key)}
    agent.answers["/v1/enrol"] = lambda _: enrolling(request)
    with pytest.raises(JoinRefused, match="and the key that was sent"):
        enrol(token_line(agent.address), state)


def test_roots_that_do_not_lead_to_the_certificate_are_not_kept(agent: Server, state: Path) -> None:
    other = Authorities(now=FED.now).root_pem
    agent.answers["/v1/enrol"] = lambda request: enrolling(request, roots=[other])
    with pytest.raises(JoinRefused, match="not issued by anyone we trust"):
        enrol(token_line(agent.address), state)


def test_a_clock_too_far_from_the_agents_is_told_before_the_secret_leaves(agent: Server, state: Path) -> None:
    agent.date = format_datetime(utc_now() + timedelta(minutes=2), usegmt=True)
    with pytest.raises(JoinRefused, match=r"behind the agent's") as caught:
        enrol(token_line(agent.address), state)
    assert caught.value.code == "clock-skew"
    assert [path for path, _ in agent.asked] == ["/v1/root"]


def test_a_gateway_renews_by_the_certificate_that_it_has(agent: Server, state: Path) -> None:
    before = enrol(token_line(agent.address), state).key_file.read_bytes()
    renewed = renew(state)
    assert str(EGRESS) in agent.callers[-1]
    assert "secret" not in agent.asked[-1][1]
    assert certified(renewed) == (EGRESS, True)
    assert renewed.key_file.read_bytes() != before
    assert load_enrolment(state) == renewed


def test_a_gateway_that_was_away_while_a_root_came_renews_by_the_cross_certificate_and_has_both_then(
    agent: Server, tmp_path: Path, state: Path
) -> None:
    enrolled = enrol(token_line(agent.address), state)
    new = Authorities(now=FED.now)
    cross = cross_certificate(new.root.certificate, FED.root, FED.now)
    shown = new.agent("west")
    with serve(Credential((*shown.chain, cross), shown.signer), tmp_path, client_roots=FED.root_pem) as later:

        def renewing(request: Json) -> tuple[int, Json]:
            issuing = new.issuing_ca("west")
            svid = issuing.issue(profile.svid(EGRESS), verify_csr(str(request["csr"])), utc_now())
            chain = [to_pem([c]) for c in (svid, *issuing.chain, cross)]
            return 200, {"chain": chain, "roots": [FED.root_pem, new.root_pem]}

        later.answers["/v1/renew"] = renewing
        moved = msgspec.structs.replace(enrolled.enrolment, agent=(later.address,))
        keystore.write(state / "gateway.json", msgspec.json.encode(moved))
        renewed = renew(state)
    assert from_pem(renewed.roots_file.read_bytes()) == (FED.root.certificate, new.root.certificate)


def test_a_renewal_that_fails_changes_nothing(agent: Server, state: Path) -> None:
    before = enrol(token_line(agent.address), state)
    agent.answers["/v1/renew"] = lambda request: (
        200,
        {"chain": chain_for(request, gateway_id(WEST, "ingress", "gw-1")), "roots": [FED.root_pem]},
    )
    with pytest.raises(JoinRefused, match="not for"):
        renew(state)
    assert load_enrolment(state) == before
    assert certified(before) == (EGRESS, True)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"{", "truncated"), (b'{"schema": 99}', "by a newer fedgate")]
)
def test_an_enrolment_that_cannot_be_read_is_told(
    content: bytes, reason: str, agent: Server, state: Path
) -> None:
    enrol(token_line(agent.address), state)
    keystore.write(state / "gateway.json", content)
    with pytest.raises(IdentityUnusable, match=reason) as caught:
        load_enrolment(state)
    assert caught.value.hint
