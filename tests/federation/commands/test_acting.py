"""The commands that act: tokens, joining, leaving. A token is a secret, and treated as one."""

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clusters.model import VipRange
from federation.commands.secret_input import id_of
from federation.table import Json
from gateway.rules import removal, ruleset
from pki.tokens import Token, TokenKind, new_token
from tests.federation.conftest import Fedgate
from tests.federation.fake_admin import Asked, FakeAdmin

MADE = {"token": "fgj1.AAAA", "id": "5f3a", "cluster": "west", "expires": "2026-11-22T12:15:00Z"}


def token(kind: TokenKind = TokenKind.JOIN, address: str = "127.0.0.1:1") -> Token:
    soon = datetime.now(UTC) + timedelta(minutes=15)
    role = "egress" if kind is TokenKind.GATEWAY else ""
    return new_token(kind, "west", "fed.example", (address,), ("ab" * 32,), soon, role)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the command reads; no terminal."""
    piped = io.StringIO()
    monkeypatch.setattr("sys.stdin", piped)
    return piped


# --- tokens ---


def test_token_create_prints_the_line_to_paste_and_nothing_else_on_stdout(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["POST /v1/tokens"] = MADE
    ended = fedgate("token", "create", "west", "--ttl", "5m")
    assert ended.out == "echo fgj1.AAAA | fedgate join\n"
    assert "where west is to join, within 5m" in ended.err
    assert hub.asked == [Asked("POST", "/v1/tokens", {"cluster": "west", "ttl_seconds": 300})]


@pytest.mark.parametrize(("option", "printed"), [(("-q",), "fgj1.AAAA\n"), (("-o", "name"), "5f3a\n")])
def test_scripts_get_the_bare_token_or_its_id(
    hub: FakeAdmin, fedgate: Fedgate, option: tuple[str, ...], printed: str
) -> None:
    hub.answers["POST /v1/tokens"] = MADE
    ended = fedgate("token", "create", "west", *option)
    assert ended.out == printed


def test_token_create_in_json_is_the_hubs_answer(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["POST /v1/tokens"] = MADE
    ended = fedgate("token", "create", "west", "-o", "json")
    assert (json.loads(ended.out), ended.err) == (MADE, "")


@pytest.mark.parametrize("name", ["West", "west.example", "-w", "w" * 64, ""])
def test_a_name_that_no_cluster_may_have_is_refused_before_the_hub_is_asked(
    hub: FakeAdmin, fedgate: Fedgate, name: str
) -> None:
    ended = fedgate("token", "create", "--", name)
    assert ended.code == 2
    assert hub.asked == []


def test_tokens_are_listed_without_secrets(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/tokens"] = {"tokens": [{"id": "5f3a", "cluster": "west", "state": "used"}]}
    assert fedgate("token", "list").out.splitlines()[1].split() == ["5f3a", "west", "used", "-", "-"]


def test_a_token_is_revoked_by_its_id(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["DELETE /v1/tokens/5f3a"] = {"id": "5f3a", "state": "revoked"}
    assert fedgate("token", "revoke", "5f3a").out == "5f3a revoked\n"


def test_revoking_by_the_whole_token_asks_for_its_id_only(hub: FakeAdmin, fedgate: Fedgate) -> None:
    shown = token()
    hub.answers[f"DELETE /v1/tokens/{shown.id}"] = {}
    assert fedgate("token", "revoke", shown.text).out == f"{shown.id} revoked\n"
    assert shown.secret not in str(hub.asked)


def test_revoking_by_a_cut_token_is_refused_and_sends_none_of_it(hub: FakeAdmin, fedgate: Fedgate) -> None:
    cut = token().text[:-4]
    ended = fedgate("token", "revoke", cut)
    assert ended.code == 2
    assert hub.asked == []
    assert cut not in ended.err


def test_what_the_hub_refuses_keeps_its_words_hint_and_exit_code(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["POST /v1/tokens"] = (
        409,
        {"error": {"code": "cluster-exists", "message": "west is already in", "hint": "use another name"}},
    )
    ended = fedgate("token", "create", "west")
    assert (ended.code, ended.err) == (7, "error: west is already in\nhint: use another name\n")


# --- joining ---


def test_a_token_among_the_arguments_is_refused_with_how_to_revoke_it(fedgate: Fedgate) -> None:
    shown = token()
    ended = fedgate("join", shown.text)
    assert ended.code == 2
    assert f"fedgate token revoke {shown.id}" in ended.err
    assert shown.text[5:] not in ended.err


def test_the_id_of_an_expired_token_can_be_read_and_of_a_broken_one_not() -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    expired = new_token(TokenKind.JOIN, "west", "fed.example", ("127.0.0.1:1",), ("ab" * 32,), long_ago)
    assert id_of(expired.text) == expired.id
    assert id_of(expired.text[:-3]) is None


def test_without_a_token_join_says_where_one_may_come_from(fedgate: Fedgate, stdin: io.StringIO) -> None:
    ended = fedgate("join")
    assert ended.code == 2
    assert (
        "pipe it in, or use --token-file or FEDGATE_TOKEN; `fedgate token create CLUSTER` makes one"
        in ended.err
    )


@pytest.mark.parametrize("way", ["stdin", "file", "environment"])
def test_a_token_comes_by_stdin_a_file_or_the_environment(
    way: str, fedgate: Fedgate, stdin: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens at the token's address, so that it was read is seen by where join went."""
    line, options = f"{token(address='127.0.0.1:9').text}\n", ["--no-agent"]
    if way == "stdin":
        stdin.write(line)
        stdin.seek(0)
    elif way == "file":
        (tmp_path / "token").write_text(line)
        options += ["--token-file", str(tmp_path / "token")]
    else:
        monkeypatch.setenv("FEDGATE_TOKEN", line)
    ended = fedgate("join", *options, "--timeout", "2s")
    assert ended.code == 5
    assert "no hub answers at 127.0.0.1:9" in ended.err
    assert "FEDGATE_TOKEN" not in os.environ


def test_the_line_to_paste_will_do_as_a_token(fedgate: Fedgate, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(f"echo {token(address='127.0.0.1:9').text} | fedgate join\n")
    ended = fedgate("join", "--no-agent", "--token-file", str(tmp_path / "kept"), "--timeout", "2s")
    assert "no hub answers at 127.0.0.1:9" in ended.err


def test_a_gateways_token_is_told_from_a_clusters(fedgate: Fedgate, stdin: io.StringIO) -> None:
    stdin.write(token(TokenKind.GATEWAY).text)
    stdin.seek(0)
    ended = fedgate("join", "--no-agent")
    assert ended.code == 1
    assert "fedgate gateways run --enrol" in ended.err


def test_what_is_wrong_with_the_options_is_found_before_the_token_is_spent(
    fedgate: Fedgate, stdin: io.StringIO
) -> None:
    ended = fedgate("join", "--dns-listen", "nowhere")
    assert ended.code == 2
    assert "address 'nowhere'" in ended.err
    assert stdin.tell() == 0


def test_an_agent_that_has_not_joined_says_how_to(fedgate: Fedgate) -> None:
    ended = fedgate("agent")
    assert ended.code == 1
    assert "fedgate token create" in ended.err


# --- running ---


@pytest.mark.parametrize(
    "options",
    [
        ("hub", "--listen", "nowhere"),
        ("hub", "--vip-range", "241.0.0.0/33"),
        ("hub", "--admin-listen", "0.0.0.0:7445"),
        ("hub", "--passphrase-file", "/does/not/exist"),
        ("agent", "--source", "/does/not/exist"),
        ("gateways", "run", "--port", "0"),
        ("gateways", "run", "--enrol", "--agent", "/somewhere"),
        ("gateways", "run", "surplus"),
        ("gateways", "run", "--capture", "redirect"),
        ("gateways", "rules"),
        ("gateways", "rules", "--vip-range", "everything"),
        ("gateways", "rules", "--name", "Gw;", "--remove"),
        ("demo", "--scenario", "nothing"),
    ],
)
def test_settings_that_cannot_be_are_usage_errors(fedgate: Fedgate, options: tuple[str, ...]) -> None:
    ended = fedgate(*options)
    assert ended.code == 2, ended
    assert ended.err.startswith("error: ")


def test_a_gateway_token_among_the_arguments_is_refused(fedgate: Fedgate) -> None:
    shown = token(TokenKind.GATEWAY)
    ended = fedgate("gateways", "run", "--enrol", shown.text)
    assert ended.code == 2
    assert "let it expire unused" in ended.err
    assert shown.text[5:] not in ended.err


def test_a_gateway_token_for_another_gateway_is_not_spent(fedgate: Fedgate, stdin: io.StringIO) -> None:
    stdin.write(token(TokenKind.GATEWAY).text)
    stdin.seek(0)
    ended = fedgate("gateways", "run", "--enrol", "--name", "east")
    assert ended.code == 2
    assert "for west" in ended.err


def test_gateways_token_prints_the_line_to_paste(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["POST /v1/gateway-tokens"] = {"token": "fgg1.AAAA", "id": "77"}
    ended = fedgate("gateways", "token", "edge", "--role", "egress")
    assert ended.out == "echo fgg1.AAAA | fedgate gateways run --enrol\n"
    assert agent.asked[0].body == {"name": "edge", "role": "egress", "ttl_seconds": 900}


def test_gateways_rules_prints_what_an_administrator_loads_and_removes(fedgate: Fedgate) -> None:
    ended = fedgate("gateways", "rules", "--name", "gw-1", "--vip-range", "fd5f::/112", "--capture-port", "9")
    assert ended.out == ruleset("gw-1", [VipRange("fd5f::/112")], 9)
    assert fedgate("gateways", "rules", "--name", "gw-1", "--remove").out == removal("gw-1")


# --- shutting out ---


def test_evicting_takes_a_yes(hub: FakeAdmin, fedgate: Fedgate, stdin: io.StringIO) -> None:
    done = {"cluster": "east", "gateway": "gw-1", "reason": ""}
    hub.answers["POST /v1/clusters/west/evict"] = {"name": "west", "let_go": [done], "away": []}
    ended = fedgate("clusters", "evict", "west")
    assert (ended.code, hub.asked) == (2, [])
    assert "west would be shut out" in ended.err
    ended = fedgate("clusters", "evict", "west", "--yes", "--wait", "2s")
    assert ended.code == 0
    assert ended.out.startswith("west evicted at 1 gateway in 0.")
    assert hub.asked[0].body == {"wait_seconds": 2.0}


def test_who_has_not_let_go_of_an_evicted_cluster_is_named(hub: FakeAdmin, fedgate: Fedgate) -> None:
    slow = {"cluster": "east", "gateway": "gw-1", "reason": "it has not said so yet"}
    done = {"cluster": "north", "gateway": "gw-2", "reason": ""}
    hub.answers["POST /v1/clusters/west/evict"] = {
        "name": "west",
        "let_go": [slow, done],
        "away": ["south"],
        "ca_expires": "2026-12-01T00:00:00Z",
    }
    ended = fedgate("clusters", "evict", "west", "--yes")
    assert ended.code == 6
    assert "evicted at 1 gateway" in ended.out
    assert "east's gw-1: it has not said so yet" in ended.err
    assert "south" in ended.err
    assert "2026-12-01" in ended.err
    assert "gw-2" not in ended.err


def test_readmitting_says_what_to_do_next(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["POST /v1/clusters/west/readmit"] = {"name": "west", "state": "readmitted"}
    ended = fedgate("clusters", "readmit", "west")
    assert ended.out == "west may join again\n"
    assert "fedgate token create west" in ended.err


@pytest.mark.parametrize("command", ["evict", "readmit"])
def test_a_name_that_no_cluster_has_is_not_sent_anywhere(
    hub: FakeAdmin, fedgate: Fedgate, command: str
) -> None:
    assert fedgate("clusters", command, "../tokens").code == 2
    assert hub.asked == []


WEB = "spiffe://west.fed.example/ns/shop/sa/web"


def test_a_workload_is_revoked_and_where_its_calls_stay_open_is_said(
    agent: FakeAdmin, fedgate: Fedgate
) -> None:
    answer = {"spiffe_id": WEB, "state": "revoked", "calls_stay_open_at": []}
    agent.answers["POST /v1/certs/revoke"] = answer
    ended = fedgate("certs", "revoke", WEB)
    assert (ended.out, ended.err) == (f"{WEB} revoked\n", "")
    agent.answers["POST /v1/certs/revoke"] = answer | {"calls_stay_open_at": ["gw-1"]}
    assert "stay open at gw-1" in fedgate("certs", "revoke", WEB).err
    agent.answers["POST /v1/certs/revoke"] = answer | {"hub_connected": False}
    assert "other clusters hear of it when" in fedgate("certs", "revoke", WEB).err
    assert agent.asked[0].body == {"spiffe_id": WEB, "undo": False}


def test_a_revocation_is_undone(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["POST /v1/certs/revoke"] = {"spiffe_id": WEB, "state": "reinstated"}
    assert fedgate("certs", "revoke", WEB, "--undo").out == f"{WEB} reinstated\n"
    assert agent.asked[0].body == {"spiffe_id": WEB, "undo": True}


# --- leaving ---


def test_leaving_takes_a_yes(agent: FakeAdmin, fedgate: Fedgate, stdin: io.StringIO) -> None:
    agent.answers["GET /v1/status"] = {"cluster": "west"}
    agent.answers["POST /v1/leave"] = {"cluster": "west", "left": True}
    assert fedgate("leave").code == 2
    assert [asked.method for asked in agent.asked] == ["GET"]
    assert fedgate("leave", "--yes").out == "west has left the clusterset\n"


# --- rotating ---

NOTHING: dict[str, Json] = {"done": [], "due": [], "lagging": [], "failed": []}
SVIDS: Json = {"what": "SVIDs", "name": "4", "detail": "", "hint": ""}


def test_rotate_asks_whoever_is_here_and_says_what_was_done(
    hub: FakeAdmin, agent: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["POST /v1/rotate"] = NOTHING
    agent.answers["POST /v1/rotate"] = {**NOTHING, "done": [SVIDS]}
    ended = fedgate("rotate")
    assert (ended.code, ended.out) == (0, "√ hub: nothing is due\n√ agent: renewed SVIDs 4\n")
    assert agent.asked == [Asked("POST", "/v1/rotate", {"dry_run": False, "force": False})]


def test_rotate_ends_with_1_when_something_failed_or_somebody_lags(
    agent: FakeAdmin, fedgate: Fedgate
) -> None:
    lags: dict[str, Json] = {
        "what": "gateway",
        "name": "cloud/gw-1",
        "detail": "it has not acknowledged it",
        "hint": "",
    }
    fails: Json = {"what": "issuing CA", "name": "west.fed.example", "detail": "no hub", "hint": "wait"}
    agent.answers["POST /v1/rotate"] = {**NOTHING, "lagging": [lags], "failed": [fails]}
    ended = fedgate("rotate", "--force")
    assert ended.code == 1
    assert "waits for gateway cloud/gw-1: it has not acknowledged it" in ended.out
    assert "not renewed: issuing CA west.fed.example: no hub\n    wait\n" in ended.out
    told = json.loads(fedgate("rotate", "-o", "json").out)
    assert told["ok"] is False
    assert told["lagging"] == [{"of": "agent", **lags}]


def test_rotate_dry_run_says_what_is_due_and_that_is_no_failure(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["POST /v1/rotate"] = {**NOTHING, "due": [SVIDS]}
    ended = fedgate("rotate", "--dry-run")
    assert (ended.code, ended.out) == (0, "√ agent: due: SVIDs 4\n")
    assert agent.asked[-1].body == {"dry_run": True, "force": False}
