"""`fedgate ca`: the hub's authorities, and a rollover's steps as an operator takes them."""

import json
from pathlib import Path

import pytest

from federation.table import Json
from tests.federation.conftest import Fedgate
from tests.federation.fake_admin import Asked, FakeAdmin

PATH = "/v1/ca/rollover"
PARTIES: Json = [
    {"name": "the hub", "state": "ready", "knows": True, "proved": True, "reissued": False, "why": ""},
    {
        "name": "west",
        "state": "waited for",
        "knows": False,
        "proved": False,
        "reissued": False,
        "why": "its agent is not connected",
    },
]
SPREADING: Json = {"phase": "spreading", "next": "wait", "parties": PARTIES}


def test_the_authorities_are_listed_with_the_root_that_signs(hub: FakeAdmin, fedgate: Fedgate) -> None:
    root: Json = {"subject": "CN=fedgate root", "signs": True, "not_after": "2036-01-01T00:00:00Z"}
    hub_ca: Json = {"subject": "CN=fedgate hub CA", "not_after": "2026-12-31T00:00:00Z"}
    hub.answers["GET /v1/ca"] = {"roots": [root], "hub_ca": hub_ca, "rollover": {"phase": "spreading"}}
    ended = fedgate("ca")
    heading, first, second = (line.split() for line in ended.out.splitlines())
    assert heading == ["KIND", "SUBJECT", "SIGNS", "EXPIRES"]
    assert (first[:3], second[:2]) == (["root", "CN=fedgate", "root"], ["hub", "CA"])
    assert "a rollover is under way (spreading)" in ended.err


def test_the_status_of_a_rollover_names_who_is_waited_for_and_why(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers[f"GET {PATH}"] = SPREADING
    ended = fedgate("ca", "rollover", "status")
    assert "west      waited for   no      no       no         its agent is not connected" in ended.out
    assert "spreading: not everybody is ready" in ended.err


def test_without_a_rollover_the_status_says_so(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers[f"GET {PATH}"] = {"phase": "none", "parties": []}
    ended = fedgate("ca", "rollover")
    assert (ended.code, ended.out, ended.err) == (0, "", "no rollover is under way\n")


@pytest.mark.parametrize("step", ["resume", "finish", "abort"])
def test_each_step_is_asked_of_the_hub(hub: FakeAdmin, fedgate: Fedgate, step: str) -> None:
    hub.answers[f"POST {PATH}"] = SPREADING
    ended = fedgate("ca", "rollover", step, "-o", "json")
    assert json.loads(ended.out) == SPREADING
    (asked,) = hub.asked
    assert isinstance(asked.body, dict)
    assert asked.body["step"] == step


def test_a_step_that_is_refused_ends_in_conflict_with_the_names(hub: FakeAdmin, fedgate: Fedgate) -> None:
    error = {"code": "rollover-lags", "message": "west: its agent is not connected", "hint": "wait"}
    hub.answers[f"POST {PATH}"] = (409, {"error": error})
    ended = fedgate("ca", "rollover", "resume")
    assert (ended.code, ended.out) == (7, "")
    assert "west: its agent is not connected" in ended.err


def test_a_root_from_outside_is_read_from_its_files(hub: FakeAdmin, fedgate: Fedgate, tmp_path: Path) -> None:
    hub.answers[f"POST {PATH}"] = SPREADING
    cert, key = tmp_path / "root.pem", tmp_path / "root.key"
    cert.write_text("CERT")
    key.write_text("KEY")
    fedgate("ca", "rollover", "start", "--auto", "--root-cert", str(cert), "--root-key", str(key))
    body: Json = {"step": "start", "auto": True, "root_cert": "CERT", "root_key": "KEY"}
    assert hub.asked == [Asked("POST", PATH, body)]
    ended = fedgate("ca", "rollover", "start", "--root-cert", str(cert))
    assert ended.code == 2
    assert "--root-key" in ended.err


def test_a_request_is_printed_for_whoever_has_the_root(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["POST /v1/ca/csr"] = {"csr": "-----BEGIN\nREQUEST-----\n"}
    ended = fedgate("ca", "csr", "--next")
    assert ended.out == "-----BEGIN\nREQUEST-----\n"
    assert "rollover start --hub-ca-chain" in ended.err
    assert hub.asked == [Asked("POST", "/v1/ca/csr", {"next": True})]


def test_what_the_root_has_certified_is_installed(hub: FakeAdmin, fedgate: Fedgate, tmp_path: Path) -> None:
    hub.answers["POST /v1/ca/hub-ca"] = {"hub_ca": {"fingerprint": "ab12"}, "roots": []}
    chain = tmp_path / "chain.pem"
    chain.write_text("CHAIN")
    assert fedgate("ca", "install", str(chain)).out == "hub CA ab12 installed\n"
    assert hub.asked == [Asked("POST", "/v1/ca/hub-ca", {"chain": "CHAIN"})]


def test_a_new_root_comes_with_its_key_or_with_what_it_has_certified_and_not_with_both(
    hub: FakeAdmin, fedgate: Fedgate, tmp_path: Path
) -> None:
    hub.answers[f"POST {PATH}"] = SPREADING
    file = str(tmp_path / "file")
    Path(file).write_text("PEM")
    fedgate("ca", "rollover", "start", "--hub-ca-chain", file, "--cross-cert", file)
    body: Json = {"step": "start", "auto": False, "hub_ca_chain": "PEM", "cross_cert": "PEM"}
    assert hub.asked == [Asked("POST", PATH, body)]
    both = fedgate("ca", "rollover", "start", "--root-cert", file, "--root-key", file, "--hub-ca-chain", file)
    assert both.code == 2


@pytest.mark.parametrize("step", ["resume", "finish"])
def test_whom_to_skip_is_said_with_the_step_after_a_question(
    hub: FakeAdmin, fedgate: Fedgate, step: str
) -> None:
    hub.answers[f"POST {PATH}"] = SPREADING
    unsure = fedgate("ca", "rollover", step, "--skip", "west")
    assert (unsure.code != 0, hub.asked) == (True, [])
    fedgate("ca", "rollover", step, "--skip", "west", "--yes")
    (asked,) = hub.asked
    assert isinstance(asked.body, dict)
    assert (asked.target, asked.body["step"], asked.body["skip"]) == (PATH, step, ["west"])
