"""The commands that look: what they ask, what they print in each form, how they end."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from federation.audit import Audit
from federation.commands.check import settled
from federation.commands.gateways import synced
from federation.errors import WaitedInVain
from federation.table import Record
from tests.authorities import NOW
from tests.federation.conftest import Fedgate
from tests.federation.fake_admin import Asked, FakeAdmin


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def west(**changes: str | int) -> Record:
    return {
        "name": "west",
        "state": "active",
        "services": 3,
        "gateways": 1,
        "last_seen": ago(seconds=30.5),
        "ca_expires": ago(days=-13, hours=-1),
        "version": "0.1.0",
        "connected": True,
        "trust_domain": "west.fed.example",
        "clock_skew_seconds": 0.2,
        **changes,
    }


CATALOG: Record = {
    "namespace": "shop",
    "name": "catalog",
    "dns_name": "catalog.shop.svc.clusterset.local",
    "vips": ["241.0.0.1", "fd5f:ed:6a7e::1"],
    "ports": [
        {
            "number": 8080,
            "name": "http",
            "protocol": "TCP",
            "app_protocol": "http",
            "carried": True,
            "carriage": "L7",
        },
        {"number": 53, "name": "dns", "protocol": "UDP", "app_protocol": None, "carried": False},
    ],
    "clusters": [{"name": "cloud", "ready_endpoints": 2}, {"name": "onprem", "ready_endpoints": 0}],
    "conflict": "",
}
RESOLVED: Record = {
    "name": "catalog.shop.svc.clusterset.local",
    "from": "onprem",
    "rcode": "NOERROR",
    "answers": [
        {"name": "catalog.shop.svc.clusterset.local", "type": "A", "ttl": 5, "data": "241.0.0.1"},
        {"name": "catalog.shop.svc.clusterset.local", "type": "AAAA", "ttl": 5, "data": "fd5f:ed:6a7e::1"},
    ],
    "source": "clusterset",
    "why": ["shop/catalog is offered by cloud"],
}
GATEWAY: Record = {
    "name": "gw-1",
    "roles": ["egress", "ingress"],
    "state": "SYNCED",
    "detail": "",
    "connected": True,
    "since": ago(minutes=5, seconds=1),
    "resources": {"CDS": 4, "LDS": 2},
    "address": "unix",
}


# --- clusters ---


def test_clusters_are_a_table_with_times_as_distances(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": [west()]}
    ended = fedgate("clusters")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "NAME   STATE    SERVICES   GATEWAYS   PROBES   LAST-SEEN   CA-EXPIRES   VERSION",
        "west   active   3          1          -        30s ago     in 13d       0.1.0",
    ]


def seen(**changes: str) -> Record:
    return {
        "from": "east",
        "gateway": "gw-1",
        "address": "192.0.2.10:15008",
        "state": "up",
        "since": ago(minutes=5.5),
        "said": ago(seconds=0),
        "reason": "",
        **changes,
    }


def test_clusters_say_how_many_probes_of_them_go_well(hub: FakeAdmin, fedgate: Fedgate) -> None:
    dead = seen(state="down", since=ago(seconds=12.5), reason="no answer in time")
    hub.answers["GET /v1/clusters"] = {"clusters": [{**west(), "probes": [seen(), dead]}]}
    assert "1/2 up " in fedgate("clusters").out
    shown = fedgate("clusters", "show", "west").out
    assert shown.partition("\n\n")[2].splitlines()[0].split()[:4] == ["FROM", "GATEWAY", "ADDRESS", "STATE"]
    told = shown.splitlines()[-1]
    assert told.split()[2:8] == ["192.0.2.10:15008", "down", "12s", "ago", "now", "no"]


def test_probes_that_nobody_says_any_more_are_shown_as_old(hub: FakeAdmin, fedgate: Fedgate) -> None:
    old = seen(said=ago(seconds=12.5))
    hub.answers["GET /v1/clusters"] = {"clusters": [{**west(), "probes": [seen(), old]}]}
    assert "2/2 up, said 12s ago" in fedgate("clusters").out


def test_gateways_say_how_many_of_the_others_they_find_alive(agent: FakeAdmin, fedgate: Fedgate) -> None:
    found: list[Record] = [{"cluster": "east", "address": "192.0.2.20:1", "up": up} for up in (True, False)]
    agent.answers["GET /v1/gateways"] = {"gateways": [{**GATEWAY, "probes": found}]}
    assert "1/2 up" in fedgate("gateways").out


def test_wide_adds_columns_and_name_leaves_only_names(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": [west(), west(name="east")]}
    assert "west.fed.example" in fedgate("clusters", "-o", "wide").out
    assert fedgate("clusters", "list", "-o", "name").out == "west\neast\n"


def test_json_and_yaml_say_all_that_the_hub_said_even_what_we_do_not_know(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    answer: Record = {"clusters": [west(added_later="x")]}
    hub.answers["GET /v1/clusters"] = answer
    assert json.loads(fedgate("clusters", "-o", "json").out) == answer
    assert yaml.safe_load(fedgate("clusters", "-o", "yaml").out) == answer


def test_none_yet_is_no_data_on_stdout_and_the_next_command_on_stderr(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": []}
    ended = fedgate("clusters")
    assert (ended.code, ended.out) == (0, "")
    assert "fedgate token create" in ended.err
    assert json.loads(fedgate("clusters", "-o", "json").out) == {"clusters": []}


def test_one_cluster_is_shown_in_full(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": [west()]}
    shown = fedgate("clusters", "show", "west").out
    assert "NAME:         west\n" in shown
    assert "TRUST-DOMAIN: west.fed.example\n" in shown


def test_a_cluster_that_is_not_there_ends_with_3_and_names_the_one_that_was_meant(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": [west()]}
    ended = fedgate("clusters", "show", "wset")
    assert ended.code == 3
    assert ended.err == "error: no cluster named 'wset'\nhint: did you mean west?\n"


def test_no_hub_ends_with_5_and_says_how_to_find_one(fedgate: Fedgate) -> None:
    ended = fedgate("clusters")
    assert ended.code == 5
    assert "--hub" in ended.err


def test_an_answer_without_what_was_asked_for_is_an_error_not_an_empty_table(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["GET /v1/clusters"] = {}
    assert "the answer has no 'clusters'" in fedgate("clusters").err


# --- services ---


def test_services_say_who_offers_them_and_how_each_port_is_carried(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/services"] = {"services": [CATALOG]}
    line = fedgate("services").out.splitlines()[1]
    assert line.split() == [
        "shop/catalog",
        "8080/TCP(L7),53/UDP(not",
        "carried)",
        "cloud(2),onprem(0)",
        "241.0.0.1,fd5f:ed:6a7e::1",
        "-",
    ]


@pytest.mark.parametrize("name", ["shop/catalog", "catalog.shop", "Catalog.shop.svc.clusterset.local."])
def test_a_service_is_found_by_any_of_its_names(name: str, hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/services"] = {"services": [CATALOG]}
    assert json.loads(fedgate("services", "show", name, "-o", "json").out) == CATALOG


def test_the_agent_shows_its_own_endpoints_and_which_are_down_since_when_and_why(
    agent: FakeAdmin, fedgate: Fedgate
) -> None:
    endpoints: list[Record] = [
        {"address": "10.0.0.1", "state": "ready", "since": ago(minutes=5.5), "reason": ""},
        {"address": "10.0.0.2", "state": "down", "since": ago(seconds=30.5), "reason": "answered 500"},
    ]
    agent.answers["GET /v1/services"] = {"services": [{**CATALOG, "endpoints": endpoints}]}
    shown = fedgate("services", "show", "shop/catalog").out
    assert shown.rpartition("\n\n")[2].splitlines() == [
        "ENDPOINT   STATE   SINCE     REASON",
        "10.0.0.1   ready   5m ago    -",
        "10.0.0.2   down    30s ago   answered 500",
    ]


def test_each_exporter_is_shown_with_its_state_and_why(hub: FakeAdmin, fedgate: Fedgate) -> None:
    away: Record = {
        "name": "west",
        "ready_endpoints": 2,
        "state": "held",
        "reason": "its agent is away",
        "staleness": {"policy": "drain", "after_seconds": 600.0},
    }
    hub.answers["GET /v1/services"] = {"services": [{**CATALOG, "clusters": [away]}]}
    assert fedgate("services", "show", "shop/catalog").out.partition("\n\n")[2].splitlines() == [
        "CLUSTER   STATE   READY   WHEN-AWAY   REASON",
        "west      held    2       drain 10m   its agent is away",
    ]


def test_services_can_be_those_of_one_namespace(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/services"] = {"services": [CATALOG, {**CATALOG, "namespace": "back"}]}
    assert fedgate("services", "list", "-n", "back", "-o", "name").out == "back/catalog\n"


def test_services_come_from_the_agent_where_there_is_no_hub(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["GET /v1/services"] = {"services": [CATALOG]}
    assert fedgate("services", "-o", "name").out == "shop/catalog\n"


def test_an_option_beats_the_environment_and_that_beats_what_is_here(
    hub: FakeAdmin, agent: FakeAdmin, fedgate: Fedgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.answers["GET /v1/services"] = {"services": [{**CATALOG, "name": "of-hub"}]}
    agent.answers["GET /v1/services"] = {"services": [{**CATALOG, "name": "of-agent"}]}
    assert fedgate("services", "-o", "name").out == "shop/of-hub\n"
    monkeypatch.setenv("FEDGATE_AGENT", str(agent.path))
    assert fedgate("services", "-o", "name").out == "shop/of-agent\n"
    assert fedgate("services", "-o", "name", "--hub", str(hub.path)).out == "shop/of-hub\n"


def test_neither_hub_nor_agent_ends_with_5(fedgate: Fedgate) -> None:
    ended = fedgate("services")
    assert ended.code == 5
    assert "neither a hub nor an agent runs here" in ended.err


# --- resolve ---


def test_resolve_shows_the_verdict_the_records_and_the_reasons(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["GET /v1/resolve"] = RESOLVED
    ended = fedgate("resolve", "shop/catalog")
    assert ended.code == 0
    assert agent.asked == [Asked("GET", "/v1/resolve?name=catalog.shop.svc.clusterset.local")]
    assert ended.out.splitlines() == [
        "catalog.shop.svc.clusterset.local: NOERROR, from clusterset, asked in onprem",
        "NAME                                TYPE   TTL   DATA",
        "catalog.shop.svc.clusterset.local   A      5     241.0.0.1",
        "catalog.shop.svc.clusterset.local   AAAA   5     fd5f:ed:6a7e::1",
        "  because shop/catalog is offered by cloud",
    ]


def test_resolve_from_a_cluster_asks_the_hub_even_where_an_agent_is(
    hub: FakeAdmin, agent: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["GET /v1/resolve"] = RESOLVED
    assert (
        fedgate("resolve", "catalog.shop.svc", "--from", "onprem", "--type", "a", "-o", "name").out
        == "241.0.0.1\n"
    )
    assert hub.asked[0].target == "/v1/resolve?name=catalog.shop.svc.clusterset.local&type=A&from=onprem"
    assert agent.asked == []


def test_a_name_that_does_not_exist_ends_with_3_and_still_says_why(
    agent: FakeAdmin, fedgate: Fedgate
) -> None:
    agent.answers["GET /v1/resolve"] = {
        "name": "x.y",
        "rcode": "NXDOMAIN",
        "answers": [],
        "why": ["nobody offers it"],
    }
    ended = fedgate("resolve", "x.y")
    assert (ended.code, ended.err) == (3, "")
    assert ended.out == "x.y: NXDOMAIN\n  because nobody offers it\n"


# --- gateways, certificates, status ---


def test_sync_shows_how_much_each_gateway_has_taken_and_envoys_own_words(
    agent: FakeAdmin, fedgate: Fedgate
) -> None:
    rejected: Record = {**GATEWAY, "name": "gw-2", "state": "NACK", "detail": "LDS: no such filter"}
    agent.answers["GET /v1/gateways"] = {"gateways": [GATEWAY, rejected]}
    lines = fedgate("gateways", "sync").out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "CDS", "EDS", "LDS", "RDS", "SDS", "DETAIL"]
    assert lines[1].split() == ["gw-1", "SYNCED", "4", "0", "2", "0", "0", "-"]
    assert lines[2].endswith("LDS: no such filter")
    assert fedgate("gateways", "-o", "name").out == "gw-1\ngw-2\n"


def test_waiting_for_sync_ends_when_all_are(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["GET /v1/gateways"] = {"gateways": [GATEWAY]}
    assert fedgate("gateways", "sync", "gw-1", "--wait", "10s").code == 0


def test_waiting_looks_again_until_every_named_gateway_is_there_and_in_sync() -> None:
    looks: list[list[Record]] = [[], [{**GATEWAY, "state": "STALE"}], [GATEWAY]]
    found = synced(lambda: looks.pop(0), ["gw-1"], 10, iter(range(9)).__next__, lambda _: None)
    assert (found, looks) == ([GATEWAY], [])


def test_waiting_in_vain_names_those_that_are_not_in_sync() -> None:
    seen: list[Record] = [GATEWAY, {**GATEWAY, "name": "gw-2", "state": "NACK"}]
    with pytest.raises(WaitedInVain, match="not in sync: gw-2, gw-9, after 5 s") as waited:
        synced(lambda: seen, ["gw-9"], 5, iter(range(9)).__next__, lambda _: None)
    assert waited.value.exit_code == 6


def test_certificates_are_listed_with_when_they_are_renewed(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["GET /v1/certs"] = {
        "certs": [
            {
                "spiffe_id": "spiffe://west.fed.example/ns/shop/sa/web",
                "kind": "workload",
                "serial": "ab",
                "not_before": ago(minutes=5),
                "not_after": ago(minutes=-59.5),
                "renews_at": ago(minutes=-29.5),
                "state": "valid",
            }
        ]
    }
    line = fedgate("certs").out.splitlines()[1]
    assert line.split() == [
        "spiffe://west.fed.example/ns/shop/sa/web",
        "workload",
        "valid",
        "in",
        "59m",
        "in",
        "29m",
    ]


def test_status_is_one_screen_and_says_why_the_hub_is_away(agent: FakeAdmin, fedgate: Fedgate) -> None:
    agent.answers["GET /v1/status"] = {
        "cluster": "west",
        "trust_domain": "west.fed.example",
        "hub": {
            "connected": False,
            "address": "192.0.2.1:7444",
            "since": ago(minutes=3.5),
            "reason": "connection refused",
            "hint": "is it running?",
        },
        "source": {
            "path": "/etc/west.yaml",
            "state": "stale",
            "services": 2,
            "workloads": 1,
            "gateways": 1,
            "problems": ["3:5 services[0].prots: unknown field; did you mean ports?"],
        },
    }
    assert fedgate("status").out.splitlines() == [
        "cluster:  west, trust domain west.fed.example",
        "hub:      disconnected, 192.0.2.1:7444, since 3m ago",
        "          connection refused",
        "          is it running?",
        "source:   stale, /etc/west.yaml, services: 2, workloads: 1, gateways: 1",
        "          3:5 services[0].prots: unknown field; did you mean ports?",
    ]


# --- check ---


def test_check_asks_hub_and_agent_and_hints_at_what_is_not_well(
    hub: FakeAdmin, agent: FakeAdmin, fedgate: Fedgate
) -> None:
    hub.answers["GET /v1/check"] = {
        "checks": [{"name": "store", "status": "ok", "detail": "12 MB", "hint": ""}]
    }
    agent.answers["GET /v1/check"] = {
        "checks": [
            {"name": "clock", "status": "warn", "detail": "7 s ahead", "hint": "run an NTP client"},
            {"name": "source", "status": "fail", "detail": "broken", "hint": "correct the file"},
        ]
    }
    ended = fedgate("check")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "hub",
        f"√ the hub answers: {hub.path}",
        "√ store: 12 MB",
        "",
        "agent",
        f"√ the agent answers: {agent.path}",
        "‼ clock: 7 s ahead",
        "    run an NTP client",
        "\N{MULTIPLICATION SIGN} source: broken",
        "    correct the file",
        "",
        "\N{MULTIPLICATION SIGN} 1 failed, 1 warned, 3 ok",
    ]


def test_a_warning_is_no_failure_and_json_says_whether_all_is_well(
    agent: FakeAdmin, fedgate: Fedgate
) -> None:
    agent.answers["GET /v1/check"] = {
        "checks": [{"name": "clock", "status": "warn", "detail": "", "hint": ""}]
    }
    ended = fedgate("check", "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["ok"] is True


def test_a_hub_that_was_named_and_does_not_answer_is_a_failed_check(fedgate: Fedgate) -> None:
    ended = fedgate("check", "--hub", "/nowhere")
    assert ended.code == 1
    assert "the hub answers: no hub answers at /nowhere/admin.sock" in ended.out


def test_check_waits_until_nothing_fails_or_the_time_is_over() -> None:
    bad: Record = {"name": "x", "status": "fail"}
    good: Record = {"name": "x", "status": "ok"}
    looks = [[[bad]], [[bad]], [[good]]]
    assert settled(lambda: looks.pop(0), 10, iter(range(99)).__next__, lambda _: None) == [good]
    assert settled(lambda: [[bad]], 3, iter(range(99)).__next__, lambda _: None) == [bad]


# --- audit ----------------------------------------------------------------------------------------


def audited(state: Path) -> Path:
    """A state folder with an audit record of three entries."""
    state.mkdir(parents=True)
    audit = Audit(state, lambda: NOW)
    with audit.kept():
        audit.record("started", "spiffe://fed.example/hub")
        audit.record("issued", "onprem", actor="10.0.0.7", token="5b1e")
        audit.record("denied", "onprem", actor="10.0.0.8", code="token-used")
    return state


def test_the_audit_record_is_listed_from_its_files_and_filtered(tmp_path: Path, fedgate: Fedgate) -> None:
    state = str(audited(tmp_path / "hub"))
    ended = fedgate("audit", "list", "--state", state, "--subject", "onprem", "--action", "denied")
    header, line = ended.out.splitlines()
    assert header.split() == ["N", "AT", "ACTION", "SUBJECT", "ACTOR", "DETAILS"]
    assert line.split() == [
        "3",
        "2026-06-01T12:00:00.000Z",
        "denied",
        "onprem",
        "10.0.0.8",
        "code=token-used",
    ]
    assert fedgate("audit", "--state", state, "--since", "2026-06-01T12:00:01Z").out == ""
    assert len(fedgate("audit", "--state", state, "--most", "2").out.splitlines()) == 3
    assert fedgate("audit", "--state", state, "--since", "soon").code == 2


def test_verify_says_the_head_and_the_first_entry_that_was_changed(tmp_path: Path, fedgate: Fedgate) -> None:
    state = audited(tmp_path / "hub")
    whole = fedgate("audit", "verify", "--state", str(state))
    assert whole.code == 0
    head = whole.out.split()[-1]
    assert fedgate("audit", "verify", "--state", str(state), "--head", head).code == 0
    assert fedgate("audit", "verify", "--state", str(state), "--head", "ab" * 32).code == 1
    record = state / "audit.jsonl"
    record.write_bytes(record.read_bytes().replace(b"5b1e", b"5b1f"))
    broken = fedgate("audit", "verify", "--state", str(state))
    assert broken.code == 1
    assert "line 2 of audit.jsonl: its hash is not that of its content" in broken.err
    assert fedgate("audit", "verify", "--state", str(tmp_path)).code == 3


def test_the_audit_record_is_asked_of_the_hub(hub: FakeAdmin, fedgate: Fedgate) -> None:
    hub.answers["GET /v1/audit/verify"] = {"ok": True, "entries": 1, "head": "ab", "problem": ""}
    hub.answers["GET /v1/audit"] = {"entries": [], "problem": ""}
    assert "head:    ab" in fedgate("audit", "verify", "--head", "cd").out
    assert fedgate("audit", "--action", "issued").err == "no such entries\n"
    assert [asked.target for asked in hub.asked] == [
        "/v1/audit/verify?head=cd",
        "/v1/audit?action=issued&most=1000",
    ]


def test_certificates_that_end_soon_are_picked_out_and_one_is_shown_in_full(
    hub: FakeAdmin, fedgate: Fedgate
) -> None:
    held: list[Record] = [
        {"spiffe_id": name, "kind": "hub", "state": "valid", "not_after": ago(minutes=-left)}
        for name, left in (("a", 5), ("b", 50))
    ]
    hub.answers["GET /v1/certs"] = {"certs": held}
    assert fedgate("certs", "--expiring", "10m", "-o", "name").out.split() == ["a"]
    assert fedgate("certs", "list", "-o", "name").out.split() == ["a", "b"]
    assert "NAME:" in fedgate("certs", "inspect", "b").out
    assert fedgate("certs", "inspect", "c").code == 3
