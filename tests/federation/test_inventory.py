"""Who holds what until when, and who is told of it in time."""

from datetime import timedelta

from clusters.names import ClusterName
from federation import inventory
from federation.api.metrics import exposed
from federation.hub_authority import HubAuthority
from federation.svids import Svids
from pki.authority import to_pem
from pki.jwt_keys import KEY_LIFETIME, SigningKey
from pki.spiffe import agent_id, workload_id
from tests.authorities import NOW, Authorities
from tests.builders import CLOUD, ONPREM

PKI = Authorities()


def at_the_hub() -> list[inventory.Held]:
    authority = HubAuthority("fed.example", PKI.root.certificate, PKI.hub_ca)
    anchors = [(name, to_pem(PKI.issuing_ca(name).chain)) for name in (ONPREM, CLOUD)]
    return list(inventory.of_hub(authority, PKI.hub().certificate, [*anchors, (ClusterName("x"), "junk")]))


def test_the_hub_tells_of_root_hub_ca_itself_and_each_clusters_issuing_ca() -> None:
    told = [held.document(NOW) for held in at_the_hub()]
    assert [(each["kind"], each["cluster"]) for each in told] == [
        ("root", ""),
        ("hub CA", ""),
        ("hub", ""),
        ("issuing CA", "onprem"),
        ("issuing CA", "cloud"),
    ]
    assert told[2]["spiffe_id"] == "spiffe://fed.example/hub"
    assert told[0]["renews_at"] is None
    assert told[3]["not_after"] == NOW + timedelta(days=14)
    assert {each["state"] for each in told} == {"valid"}


def test_an_agent_tells_of_each_svid_by_its_kind() -> None:
    svids = Svids(PKI.issuing_ca("onprem"))
    for spiffe_id in (agent_id("onprem.fed.example"), workload_id("onprem.fed.example", "shop", "cart")):
        svids.get(spiffe_id, NOW)
    told = [inventory.of_svid(svid).document(NOW) for svid in svids.all()]
    assert [(each["kind"], each["state"]) for each in told] == [("agent", "valid"), ("workload", "valid")]


def test_of_an_agents_jwt_keys_the_newest_is_watched_and_the_others_end_as_they_are_meant_to() -> None:
    now = NOW + KEY_LIFETIME * 0.9
    keys = (SigningKey.new(NOW), SigningKey.new(NOW + KEY_LIFETIME * 0.5))
    held = list(inventory.of_jwt_keys(keys, "onprem.fed.example", now))
    assert [each.document(now)["serial"] for each in held] == [key.key_id for key in keys]
    assert [each.state(now) for each in held] == ["valid", "valid"]
    (overdue,) = inventory.of_jwt_keys(keys[:1], "onprem.fed.example", now)
    assert overdue.state(now) == "overdue"
    text = exposed(inventory.metrics(held)).decode()
    (line,) = [line for line in text.splitlines() if 'kind="JWT key"' in line]
    assert 'name="spiffe://onprem.fed.example"' in line
    assert float(line.rpartition(" ")[2]) == keys[1].validity.not_after.timestamp()


def test_what_should_have_been_renewed_is_a_warning_and_what_is_over_a_failure() -> None:
    def told(days: float) -> dict[str, int]:
        found = [check.status for check in inventory.checks(at_the_hub(), NOW + timedelta(days=days))]
        return {status: found.count(status) for status in ("ok", "warn", "fail")}

    assert told(7.5) == {"ok": 1, "warn": 0, "fail": 0}
    assert told(11) == {"ok": 1, "warn": 2, "fail": 0}  # both issuing CAs
    assert told(31) == {"ok": 1, "warn": 0, "fail": 2}
    assert told(70) == {"ok": 1, "warn": 2, "fail": 2}  # and hub CA and hub
    assert told(91) == {"ok": 1, "warn": 0, "fail": 4}


def test_a_root_is_told_of_a_year_before_its_end() -> None:
    (root, *_) = at_the_hub()
    assert root.state(NOW + timedelta(days=3200)) == "valid"
    (check, _) = inventory.checks([root], NOW + timedelta(days=3300))
    assert (check.status, "rollover" in check.hint) == ("warn", True)


def test_every_end_is_a_metric() -> None:
    text = exposed(inventory.metrics(at_the_hub())).decode()
    ends = (NOW + timedelta(days=14)).timestamp()
    (line,) = [line for line in text.splitlines() if 'cluster="onprem"' in line]
    assert 'kind="issuing CA"' in line
    assert float(line.rpartition(" ")[2]) == ends
    assert text.count("fedgate_certificate_expiry_seconds{") == 5
