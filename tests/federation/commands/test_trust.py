"""`fedgate trust`."""

import json
from pathlib import Path

from federation.table import Json
from tests.federation.conftest import Fedgate
from tests.federation.fake_admin import Asked, FakeAdmin

URL = "https://other.example/bundle"
TRUST: Json = {
    "trust_domain": "other.example",
    "state": "stale",
    "url": URL,
    "profile": "https_web",
    "spiffe_id": "",
    "authorities": 1,
    "jwt_keys": 2,
    "sequence": 7,
    "fetched_at": "2026-11-22T12:15:00Z",
    "next_look": "2026-11-22T12:20:00Z",
    "failures": 3,
    "reason": "nobody answers",
}


def test_trust_add_sends_the_endpoint_and_the_bundle(
    hub: FakeAdmin, fedgate: Fedgate, tmp_path: Path
) -> None:
    (tmp_path / "bundle.json").write_text('{"keys": []}')
    hub.answers["POST /v1/trust"] = TRUST
    spiffe = ("--profile", "https_spiffe", "--spiffe-id", "spiffe://other.example/hub")
    ended = fedgate("trust", "add", "other.example", URL, *spiffe, "--bundle", str(tmp_path / "bundle.json"))
    assert ended.code == 0
    assert "other.example is believed" in ended.out
    body = {
        "trust_domain": "other.example",
        "url": URL,
        "profile": "https_spiffe",
        "spiffe_id": "spiffe://other.example/hub",
        "bundle": '{"keys": []}',
    }
    assert hub.asked == [Asked("POST", "/v1/trust", body)]


def test_trust_list_and_show_tell_how_following_goes(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/trust"] = {"trust": [TRUST]}
    listed = fedgate("trust")
    assert "other.example" in listed.out
    assert "stale" in listed.out
    assert "nobody answers" in fedgate("trust", "show", "other.example").out
    assert fedgate("trust", "list", "-o", "name").out == "other.example\n"
    assert json.loads(fedgate("trust", "list", "-o", "json").out)["trust"][0]["sequence"] == 7
    missing = fedgate("trust", "show", "elsewhere.example")
    assert (missing.code, "no trust domain named" in missing.err) == (3, True)


def test_trust_remove_takes_it_back(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["DELETE /v1/trust/other.example"] = {"trust_domain": "other.example", "removed": True}
    assert fedgate("trust", "remove", "other.example").out == "other.example is not believed any more\n"
