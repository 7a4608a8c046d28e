"""A cluster joins a hub on loopback: what is kept when all is well, and what is said when it is not."""

import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509

from clusters.admission import Refusal
from clusters.clock import utc_now
from clusters.errors import IdentityUnusable, JoinRefused
from clusters.identity import has_joined, load_identity, load_membership
from clusters.join import join
from clusters.model import VipRange
from pki import keystore, profile
from pki.authority import to_pem
from pki.bundle import check_svid
from pki.csr import make_csr, verify_csr
from pki.errors import StateBusy, TokenCut, TokenExpired
from pki.profile import HUB_DNS_NAME
from pki.signer import KeySigner
from pki.spiffe import agent_id
from pki.tokens import TokenKind, new_token
from tests.authorities import Authorities, Credential
from tests.clusters.https_server import Json, Server, serve

FED = Authorities(now=utc_now())
WEST = "west.fed.example"


def token_line(*addresses: str, pin: str = FED.pin, cluster: str = "west") -> str:
    expires = utc_now() + timedelta(minutes=15)
    return new_token(TokenKind.JOIN, cluster, "fed.example", addresses, (pin,), expires).text


def letting_in(request: Json, changes: Json | None = None, fed: Authorities = FED) -> tuple[int, Json]:
    """What a hub of *fed* answers, with *changes* of it."""
    csr = verify_csr(str(request["csr"]))
    issuing = fed.hub_ca.issue(profile.issuing_ca(WEST), csr, utc_now())
    answer: Json = {
        "cluster": request["cluster"],
        "domain": "fed.example",
        "trust_domain": WEST,
        "chain": [to_pem([c]) for c in (issuing, *fed.hub_ca.chain)],
        "roots": [fed.root_pem],
        "sync": ["192.0.2.1:7444"],
        "vip_ranges": ["241.0.0.0/16"],
        "now": utc_now().isoformat(),
        "something-new": True,
    }
    return 200, {**answer, **(changes or {})}


@contextmanager
def hub_of(credential: Credential, directory: Path, root_pem: str = FED.root_pem) -> Iterator[Server]:
    """A hub that lets everybody in."""
    with serve(credential, directory) as server:
        server.answers = {"/v1/root": lambda _: (200, root_pem), "/v1/join": letting_in}
        yield server


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Server]:
    with hub_of(FED.hub(), tmp_path) as server:
        yield server


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "agent"


def refused(line: str, state: Path, *, rejoin: bool = False) -> JoinRefused:
    with pytest.raises(JoinRefused) as caught:
        join(line, state, rejoin=rejoin)
    return caught.value


def secrets_sent(server: Server) -> list[object]:
    return [body["secret"] for _, body in server.asked if "secret" in body]


# --- all is well ------------------------------------------------------------------------------


def test_a_cluster_that_joined_has_an_authority_of_its_own(hub: Server, state: Path) -> None:
    joined = join(token_line(hub.address), state)
    kept = load_identity(state)
    assert kept.membership == joined.identity.membership
    assert (kept.membership.cluster, kept.membership.trust_domain) == ("west", WEST)
    assert kept.membership.sync == ("192.0.2.1:7444",)
    assert kept.membership.vip_ranges == (VipRange("241.0.0.0/16"),)
    assert kept.roots == (FED.root.certificate,)
    svid = kept.authority.issue(profile.svid(agent_id(WEST)), kept.signer.public_key(), utc_now())
    chain = to_pem((svid, *kept.authority.chain))
    assert check_svid(chain, kept.roots, WEST, utc_now()) == agent_id(WEST)


def test_what_a_join_keeps_is_for_nobody_else(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()}
    assert modes == dict.fromkeys(["agent.json", "issuing.key", "issuing.pem", "roots.pem"], 0o600)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_the_hub_is_told_who_asks_and_never_the_key(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state, version="9.9")
    (path, _), (joining, said) = hub.asked
    assert (path, joining) == ("/v1/root", "/v1/join")
    assert said.keys() == {"token_id", "secret", "cluster", "csr", "version", "clock", "protocol", "rejoin"}
    assert (said["cluster"], said["version"], said["protocol"], said["rejoin"]) == ("west", "9.9", 1, False)
    assert datetime.fromisoformat(str(said["clock"])).tzinfo is not None
    assert verify_csr(str(said["csr"])) == load_identity(state).signer.public_key()
    assert "PRIVATE" not in str(hub.asked)


def test_the_next_address_is_tried_when_one_does_not_answer(hub: Server, state: Path) -> None:
    assert join(token_line(nobody(), hub.address), state).hub == hub.address


def test_a_small_skew_of_the_clocks_is_worth_a_word(hub: Server, state: Path) -> None:
    joined = join(token_line(hub.address), state, clock=lambda: utc_now() - timedelta(seconds=20))
    assert -22 < joined.clock_skew < -18
    assert joined.warning.startswith("this machine's clock is")
    assert "behind the hub's" in joined.warning


def test_no_word_is_lost_on_clocks_that_agree(hub: Server, state: Path) -> None:
    joined = join(token_line(hub.address), state)
    assert abs(joined.clock_skew) < 5
    assert joined.warning == ""


# --- the wrong hub, or none -------------------------------------------------------------------


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"127.0.0.1:{gone.getsockname()[1]}"


def test_a_hub_that_does_not_answer_is_told_with_every_address(state: Path) -> None:
    one, other = nobody(), nobody()
    error = refused(token_line(one, other), state)
    assert error.code == "unreachable"
    assert f"no hub answers at {one}: Connection refused" in error.reason
    assert other in error.reason
    assert "firewall" in error.hint
    assert not has_joined(state)


def test_a_hub_that_says_nothing_is_given_up(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(JoinRefused, match="timed out"):
        join(token_line(f"127.0.0.1:{mute.getsockname()[1]}"), state, timeout=0.2)


def test_a_hub_with_another_root_never_sees_the_secret(tmp_path: Path, state: Path) -> None:
    other = Authorities(now=utc_now())
    with hub_of(other.hub(), tmp_path, other.root_pem) as hub:
        error = refused(token_line(hub.address), state)
        assert error.code == "wrong-server"
        assert "another root than the token pins" in error.reason
        assert not secrets_sent(hub)
    assert not has_joined(state)


def test_a_hub_that_borrows_the_right_root_never_sees_the_secret(tmp_path: Path, state: Path) -> None:
    other = Authorities(now=utc_now())
    with hub_of(other.hub(), tmp_path, FED.root_pem + other.root_pem) as hub:
        error = refused(token_line(hub.address), state)
        assert error.code == "wrong-server"
        assert "does not verify" in error.reason
        assert not secrets_sent(hub)


def test_an_agent_that_poses_as_the_hub_never_sees_the_secret(tmp_path: Path, state: Path) -> None:
    with hub_of(FED.agent("cloud"), tmp_path) as hub:
        error = refused(token_line(hub.address), state)
        assert error.code == "wrong-server"
        assert not secrets_sent(hub)


def test_a_server_with_the_hubs_name_but_not_its_id_never_sees_the_secret(
    tmp_path: Path, state: Path
) -> None:
    with hub_of(by_the_hub_ca("spiffe://fed.example/hub-of-sorts", HUB_DNS_NAME), tmp_path) as hub:
        error = refused(token_line(hub.address), state)
        assert "it is spiffe://fed.example/hub-of-sorts, not spiffe://fed.example/hub" in error.reason
        assert not secrets_sent(hub)


def test_a_server_with_the_hubs_id_but_not_its_name_never_sees_the_secret(
    tmp_path: Path, state: Path
) -> None:
    with hub_of(by_the_hub_ca("spiffe://fed.example/hub"), tmp_path) as hub:
        assert "ostname mismatch" in refused(token_line(hub.address), state).reason
        assert not secrets_sent(hub)


def by_the_hub_ca(uri: str, *names: str) -> Credential:
    """What the hub CA might sign for somebody else."""
    described = replace(
        profile.hub("fed.example"),
        names=(x509.UniformResourceIdentifier(uri), *(x509.DNSName(name) for name in names)),
    )
    signer = KeySigner.generate()
    certificate = FED.hub_ca.issue(described, signer.public_key(), utc_now())
    return Credential((certificate, *FED.hub_ca.chain), signer)


@pytest.mark.parametrize("shown", ["", "hello", "x" * 300_000])
def test_a_server_without_a_root_to_show_is_not_the_hub(shown: str, tmp_path: Path, state: Path) -> None:
    with hub_of(FED.hub(), tmp_path, shown) as hub:
        assert refused(token_line(hub.address), state).code in {"wrong-server", "unreachable"}
        assert not secrets_sent(hub)


def test_the_wrong_hub_is_what_is_told_even_if_another_address_is_only_away(
    tmp_path: Path, state: Path
) -> None:
    other = Authorities(now=utc_now())
    with hub_of(other.hub(), tmp_path, other.root_pem) as hub:
        error = refused(token_line(nobody(), hub.address), state)
    assert error.code == "wrong-server"
    assert "Connection refused" in error.reason


# --- what the hub may answer ------------------------------------------------------------------


@pytest.mark.parametrize("code", list(Refusal))
def test_what_the_hub_says_against_it_is_what_is_told(code: Refusal, hub: Server, state: Path) -> None:
    said = {"error": {"code": code.value, "message": "because", "hint": "try this"}}
    hub.answers["/v1/join"] = lambda _: (409, said)
    error = refused(token_line(hub.address), state)
    assert (error.code, error.reason, error.hint) == (code.value, "because", "try this")
    assert not has_joined(state)


def test_an_answer_that_is_lost_is_not_asked_for_again(hub: Server, state: Path) -> None:
    hub.answers["/v1/join"] = lambda _: None
    error = refused(token_line(hub.address, hub.address), state)
    assert error.code == "answer-lost"
    assert "--rejoin" in error.hint
    assert len(secrets_sent(hub)) == 1


@pytest.mark.parametrize(("status", "body"), [(200, "hello"), (200, "{}"), (500, "oops"), (404, "{}")])
def test_an_answer_that_means_nothing_is_told(status: int, body: str, hub: Server, state: Path) -> None:
    hub.answers["/v1/join"] = lambda _: (status, body)
    error = refused(token_line(hub.address), state)
    assert error.code == "answer-unclear"
    assert f"answered {status}" in error.reason


CLOUDS = [to_pem([certificate]) for certificate in FED.issuing_ca("cloud").chain]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cluster": "east"}, "it is for east"),
        ({"trust_domain": "fed.example"}, "it is for west / fed.example / fed.example"),
        ({"domain": "other.example"}, "it is for west / other.example"),
        ({"chain": CLOUDS}, "not those of west"),
        ({"chain": []}, "not one or more PEM"),
        ({"roots": []}, "not issued by anyone we trust"),
        ({"roots": [Authorities(now=FED.now).root_pem]}, "not issued by anyone we trust"),
        ({"sync": []}, "no address to sync with"),
        ({"sync": ["nowhere"]}, "want HOST:PORT"),
        ({"vip_ranges": ["10.0.0.0/99"]}, "VIP range"),
    ],
)
def test_an_answer_that_does_not_hold_together_is_not_kept(
    changes: Json, reason: str, hub: Server, state: Path
) -> None:
    hub.answers["/v1/join"] = lambda request: letting_in(request, changes)
    error = refused(token_line(hub.address), state)
    assert error.code == "answer-unusable"
    assert reason in error.reason
    assert not has_joined(state)


def test_a_certificate_for_somebody_elses_key_is_not_kept(hub: Server, state: Path) -> None:
    request = {"csr": make_csr(KeySigner.generate().key), "cluster": "west"}
    hub.answers["/v1/join"] = lambda _: letting_in(request)
    assert "its key is not the signer's" in refused(token_line(hub.address), state).reason


def test_another_federations_authority_is_not_kept_even_if_its_answer_is_in_itself_sound(
    hub: Server, state: Path
) -> None:
    hub.answers["/v1/join"] = lambda request: letting_in(request, fed=Authorities(now=FED.now))
    assert "not issued by anyone we trust" in refused(token_line(hub.address), state).reason
    assert not has_joined(state)


# --- clocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "word"), [(2, "behind"), (-2, "ahead of")])
def test_clocks_too_far_apart_are_told_before_the_secret_leaves(
    minutes: int, word: str, hub: Server, state: Path
) -> None:
    hub.date = format_datetime(utc_now() + timedelta(minutes=minutes), usegmt=True)
    error = refused(token_line(hub.address), state)
    assert error.code == "clock-skew"
    assert word in error.reason
    assert not secrets_sent(hub)


def test_a_clock_for_which_the_hubs_certificate_has_not_begun_is_called_a_wrong_clock(
    tmp_path: Path, state: Path
) -> None:
    tomorrow = Authorities(now=utc_now() + timedelta(days=1))
    expires = utc_now() + timedelta(minutes=15)
    with hub_of(tomorrow.hub(), tmp_path, tomorrow.root_pem) as hub:
        hub.date = format_datetime(tomorrow.now, usegmt=True)
        line = new_token(TokenKind.JOIN, "west", "fed.example", (hub.address,), (tomorrow.pin,), expires).text
        assert refused(line, state).code == "clock-skew"


def test_clocks_too_far_apart_are_told_even_if_only_the_answer_shows_it(hub: Server, state: Path) -> None:
    later = (utc_now() + timedelta(minutes=2)).isoformat()
    hub.answers["/v1/join"] = lambda request: letting_in(request, {"now": later})
    assert refused(token_line(hub.address), state).code == "clock-skew"
    assert not has_joined(state)


def test_a_hub_that_shows_no_clock_may_still_let_in(hub: Server, state: Path) -> None:
    hub.date = "yesterday"
    assert join(token_line(hub.address), state).warning == ""


# --- what is there already --------------------------------------------------------------------


def test_a_cluster_that_joined_does_not_join_again_by_accident(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state)
    before = load_identity(state).authority.certificate
    error = refused(token_line(hub.address), state)
    assert error.code == "state-exists"
    assert "--rejoin" in error.hint
    assert len(secrets_sent(hub)) == 1
    assert load_identity(state).authority.certificate == before


def test_a_cluster_that_joins_again_on_purpose_gets_a_new_key(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state)
    before = load_identity(state).signer.public_key()
    join(token_line(hub.address), state, rejoin=True)
    assert hub.asked[-1][1]["rejoin"] is True
    assert load_identity(state).signer.public_key() != before


def test_the_state_of_one_cluster_does_not_become_anothers(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state)
    error = refused(token_line(hub.address, cluster="east"), state, rejoin=True)
    assert error.code == "state-of-another"
    assert load_membership(state).cluster == "west"


def test_a_damaged_state_is_mended_by_joining_again(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state)
    keystore.write(state / "agent.json", b"{")
    with pytest.raises(IdentityUnusable):
        join(token_line(hub.address), state)
    join(token_line(hub.address), state, rejoin=True)
    assert load_membership(state).cluster == "west"


def test_a_state_that_an_agent_is_using_is_left_alone(hub: Server, state: Path) -> None:
    with keystore.exclusive(state), pytest.raises(StateBusy):
        join(token_line(hub.address), state)
    assert not hub.asked


def test_a_refused_join_again_leaves_the_old_identity(hub: Server, state: Path) -> None:
    join(token_line(hub.address), state)
    before = load_identity(state).authority.certificate
    hub.answers["/v1/join"] = lambda request: letting_in(request, {"roots": []})
    refused(token_line(hub.address), state, rejoin=True)
    assert load_identity(state).authority.certificate == before


def test_a_token_that_cannot_be_used_is_told_before_anything_is_touched(hub: Server, state: Path) -> None:
    line = token_line(hub.address)
    with pytest.raises(TokenCut):
        join(line[:-1], state)
    with pytest.raises(TokenExpired):
        join(line, state, clock=lambda: utc_now() + timedelta(minutes=16))
    assert not hub.asked
    assert not state.exists()
