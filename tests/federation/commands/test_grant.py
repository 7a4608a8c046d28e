"""`fedgate grant`."""

import json
from pathlib import Path

import yaml

from federation.table import Json, Record
from tests.federation.conftest import Fedgate
from tests.federation.fake_admin import FakeAdmin

SHOP: Json = {"name": "shop", "clusters": ["west"], "exports": ["shop/*"], "to": ["*"]}
FOUND: Record = {
    "revision": 7,
    "defaults": {"exports": "deny", "imports": "allow", "addresses": "allow"},
    "limits": {"services": 10, "bytes": "1024", "changesPerSecond": 5},
    "grants": [SHOP],
}
LOST: Json = {
    "of": "service",
    "cluster": "west",
    "name": "shop/cart",
    "lost": True,
    "now": "no grant lets west",
}


def sent(hub: FakeAdmin) -> list[tuple[Record, bool]]:
    """What was sent to replace the grants, and whether only to see."""
    bodies = [asked.body for asked in hub.asked if asked.method == "POST"]
    return [(json.loads(str(b["text"])), bool(b["dry_run"])) for b in bodies if isinstance(b, dict)]


def answering(hub: FakeAdmin, *effects: Json) -> None:
    hub.answers["GET /v1/grants"] = FOUND
    hub.answers["POST /v1/grants"] = {
        "changes": ["grant pay added"],
        "effects": list(effects),
        "dry_run": False,
    }


def test_grant_list_shows_grants_and_defaults_and_gives_a_document_back(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    answering(hub)
    listed = fedgate("grant")
    assert "shop/*" in listed.out
    assert "defaults: exports deny, imports allow, addresses allow" in listed.err
    document = yaml.safe_load(fedgate("grant", "list", "-o", "yaml").out)
    assert document == {key: value for key, value in FOUND.items() if key != "revision"}
    assert "west" in fedgate("grant", "show", "shop").out
    assert fedgate("grant", "show", "shap").code == 3


def test_grant_add_sends_all_grants_with_the_new_one(hub: FakeAdmin, fedgate: Fedgate) -> None:
    answering(hub)
    ended = fedgate("grant", "add", "pay", "--cluster", "east", "--export", "pay/*", "--to", "west")
    assert (ended.code, ended.out) == (0, "grant pay added\n")
    made = {"name": "pay", "clusters": ["east"], "exports": ["pay/*"], "to": ["west"]}
    (tried, only_to_see), (done, not_done) = sent(hub)
    assert tried == done == {**{k: v for k, v in FOUND.items() if k != "revision"}, "grants": [SHOP, made]}
    assert (only_to_see, not_done) == (True, False)


def test_grant_add_replaces_only_when_told_to(hub: FakeAdmin, fedgate: Fedgate) -> None:
    answering(hub)
    words = ("grant", "add", "shop", "--cluster", "west", "--import", "*/*")
    refused = fedgate(*words)
    assert (refused.code, sent(hub)) == (7, [])
    assert fedgate(*words, "--replace").code == 0
    assert sent(hub)[-1][0]["grants"] == [{"name": "shop", "clusters": ["west"], "imports": ["*/*"]}]


def test_what_takes_something_away_is_asked_about_first(hub: FakeAdmin, fedgate: Fedgate) -> None:
    answering(hub, LOST)
    ended = fedgate("grant", "remove", "shop")
    assert ended.code == 2
    assert "service shop/cart of west: no grant lets west" in ended.err
    assert "--yes" in ended.err
    assert [only_to_see for _, only_to_see in sent(hub)] == [True]
    assert fedgate("grant", "remove", "shop", "--yes").code == 0
    assert sent(hub)[-1] == ({**{k: v for k, v in FOUND.items() if k != "revision"}, "grants": []}, False)


def test_grant_default_and_limit_change_what_they_name(hub: FakeAdmin, fedgate: Fedgate) -> None:
    answering(hub)
    assert fedgate("grant", "default", "deny", "--imports").code == 0
    assert sent(hub)[-1][0]["defaults"] == {"exports": "deny", "imports": "deny", "addresses": "allow"}
    assert fedgate("grant", "default", "allow").code == 0
    assert sent(hub)[-1][0]["defaults"] == dict.fromkeys(("exports", "imports", "addresses"), "allow")
    assert fedgate("grant", "limit", "--services", "3", "--bytes", "2K").code == 0
    assert sent(hub)[-1][0]["limits"] == {"services": 3, "bytes": "2048", "changesPerSecond": 5}
    assert fedgate("grant", "limit").code == 2


def test_grant_apply_replaces_everything_and_names_what_is_wrong_with_a_document(
    hub: FakeAdmin, fedgate: Fedgate, tmp_path: Path
) -> None:
    answering(hub)
    path = tmp_path / "grants.yaml"
    path.write_text("grants: [{name: a, clusters: [w], exports: [shop]}]")
    refused = fedgate("grant", "apply", "-f", str(path))
    assert (refused.code, hub.asked) == (1, [])
    assert f"{path}: 1:45 grants[0].exports[0]" in refused.err
    path.write_text("defaults: {imports: deny}")
    ended = fedgate("grant", "apply", "-f", str(path), "--dry-run")
    assert (ended.code, len(sent(hub))) == (0, 1)
    assert "nothing was changed: --dry-run" in ended.err
    (document, only_to_see) = sent(hub)[0]
    assert (document["grants"], only_to_see) == ([], True)


WHY: Record = {
    "service": "shop/cart",
    "from": "west",
    "visible": True,
    "clusters": ["cloud"],
    "vips": ["241.0.0.4"],
    "steps": [
        {"step": "exported", "holds": "yes", "text": "cloud exports 8080/TCP", "about": "cloud"},
        {"step": "reachable", "holds": "note", "text": "west has not said", "about": "cloud"},
    ],
}


def test_services_why_explains_step_by_step_and_ends_by_whether_it_is_there(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["GET /v1/why"] = WHY
    ended = fedgate("services", "why", "cart.shop", "--from", "west")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "shop/cart: west has it at 241.0.0.4"
    assert "cloud exports 8080/TCP" in ended.out
    assert hub.asked[-1].target == "/v1/why?service=shop%2Fcart&from=west"
    assert json.loads(fedgate("services", "why", "cart.shop", "--from", "west", "-o", "json").out) == WHY
    hub.answers["GET /v1/why"] = {**WHY, "visible": False, "vips": []}
    missing = fedgate("services", "why", "cart.shop", "--from", "west")
    assert (missing.code, "west does not have it" in missing.out) == (1, True)
    error: Json = {"error": {"code": "not-found", "message": "no service named 'shop/cart'"}}
    hub.answers["GET /v1/why"] = (404, error)
    assert fedgate("services", "why", "cart.shop", "--from", "west").code == 3
