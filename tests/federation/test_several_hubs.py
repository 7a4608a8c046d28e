"""Several hubs on one etcd, as processes: they are one federation, and any of them may die."""

import signal
from pathlib import Path

import pytest

from federation.errors import AdminRefused
from federation.registry.election import TTL
from federation.table import text
from tests import requirements
from tests.federation.registry.etcd_server import etcd
from tests.federation.several_hubs import OneHub, agents, hubs, services, state, until
from tests.federation.test_hub_on_etcd import fedgate

pytestmark = pytest.mark.slow

_NOTICED = TTL + 25.0  # on a machine that is busy; alone it takes 5 to 6 s


def test_a_hub_that_dies_is_followed_by_another_and_comes_back_as_one_of_them(short_path: Path) -> None:
    requirements.program("etcd")
    with etcd(short_path) as (member,), hubs(short_path, f"etcd://{member.endpoint}/fed") as (a, b, c):
        until("all know all", lambda: a.names() == b.names() == c.names() == ["a", "b", "c"] or None)
        assert {each.leader() for each in (a, b, c)} == {"a"}
        (root,) = {str(each.admin.get("/v1/ca")["roots"]) for each in (a, b, c)}
        (checked,) = {details(each, "hubs") for each in (a, b, c)}
        assert checked == "a, b, c run, and a is elected"
        assert rotated(a) == {"hub CA", "hub certificate"}
        assert rotated(b) == {"hub certificate"}
        until("all have the new hub CA", lambda: len({hub_ca(each) for each in (a, b, c)}) == 1 or None)
        a.signal(signal.SIGKILL)
        leader = until(
            "another is elected", lambda: b.leader() if b.leader() in ("b", "c") else None, _NOTICED
        )
        until("it is known everywhere", lambda: c.leader() == leader or None)
        with pytest.raises(AdminRefused, match=f"only the elected hub does this, and that is hub {leader}"):
            (c if leader == "b" else b).admin.post("/v1/ca/rollover", {"step": "start"})
        a.start()
        until("it is known again", lambda: b.names() == ["a", "b", "c"] or None)
        until("it knows who is elected", lambda: a.leader() == leader or None)
        assert str(a.admin.get("/v1/ca")["roots"]) == root


def test_a_hub_that_stood_still_past_its_lease_is_not_the_elected_one_and_does_nothing(
    short_path: Path,
) -> None:
    requirements.program("etcd")
    with etcd(short_path) as (member,), hubs(short_path, f"etcd://{member.endpoint}/fed", "ab") as (a, b):
        a.signal(signal.SIGSTOP)
        until("another is elected", lambda: b.leader() == "b" or None)
        b.admin.post("/v1/ca/rollover", {"step": "start"})
        a.signal(signal.SIGCONT)
        with pytest.raises(AdminRefused) as refused:
            a.admin.post("/v1/ca/rollover", {"step": "abort"})
        assert refused.value.code in ("not-elected", "deposed")
        until("it knows who is elected", lambda: a.leader() == "b" or None)
        until("it takes part again", lambda: a.names() == b.names() == ["a", "b"] or None)
        until("both know of the rollover", lambda: phase(a) == phase(b) == "spreading" or None)


def test_a_hub_that_stood_still_while_its_store_was_restored_ends_and_says_so(short_path: Path) -> None:
    requirements.program("etcd")
    with etcd(short_path) as (member,), hubs(short_path, f"etcd://{member.endpoint}/fed", "ab") as (a, b):
        told, saved = ["--state", str(b.state), "--store", b.store], str(short_path / "saved")
        assert fedgate(short_path, "backup", saved, *told).returncode == 0
        a.signal(signal.SIGSTOP)
        until("another is elected", lambda: b.leader() == "b" or None)
        b.signal(signal.SIGTERM)
        assert fedgate(short_path, "restore", saved, "--replace", *told).returncode == 0
        a.signal(signal.SIGCONT)
        assert a.process is not None
        assert a.process.wait(30) == 1
        said = (a.home / "log").read_text()
        assert "another one is in its place: it has another identity" in said
        assert "start the hub again" in said
        a.start()
        assert a.leader() == "a"


def test_an_agent_goes_from_hub_to_hub_and_is_known_at_all_of_them(short_path: Path) -> None:
    requirements.program("etcd")
    with (
        etcd(short_path) as (member,),
        hubs(short_path, f"etcd://{member.endpoint}/fed", "ab") as both,
        agents(short_path, "west") as (west,),
    ):
        west.join(both[0])
        first = west.at(*both)
        (other,) = [hub for hub in both if hub is not first]
        west.offer("catalog")
        until("the other hub knows it", lambda: services(other) == {"catalog"} or None)
        assert state(other, "west") == "connected"
        first.signal(signal.SIGKILL)
        assert west.at(other) is other
        west.offer("catalog", "cart")
        until("what is new arrives", lambda: services(other) == {"catalog", "cart"} or None)
        later = OneHub("c", short_path / "c", other.store)
        try:
            later.start()
            until("the agent hears of it", lambda: later.address in west.known() or None)
            other.signal(signal.SIGKILL)
            assert west.at(later) is later
            until("it is elected", lambda: later.leader() == "c" or None)
            first.start()
            first.admin.post("/v1/clusters/west/evict", {})
            until("it is hung up on elsewhere", lambda: not west.connected_to() or None)
            assert (state(first, "west"), state(later, "west")) == ("evicted", "evicted")
        finally:
            if later.process is not None:
                later.signal(signal.SIGKILL)


def test_a_rollover_that_one_hub_has_begun_another_one_ends(short_path: Path) -> None:
    requirements.program("etcd")
    with (
        etcd(short_path) as (member,),
        hubs(short_path, f"etcd://{member.endpoint}/fed") as all_hubs,
        agents(short_path, "west", "east") as clusters,
    ):
        a, b, c = all_hubs
        for cluster in clusters:
            cluster.join(b)
        a.admin.post("/v1/ca/rollover", {"step": "start", "auto": True})
        a.signal(signal.SIGKILL)
        until("the new root signs", lambda: phase(b) == "reissuing" or None)
        (leader,) = [hub for hub in (b, c) if hub.name == until("one is elected", c.leader)]
        leader.signal(signal.SIGKILL)
        (last,) = [hub for hub in (b, c) if hub is not leader]
        until("nothing of the old root is left", lambda: phase(last) == "none" or None, 150)
        a.start()
        for hub in (a, last):
            roots = hub.admin.get("/v1/ca")["roots"]
            assert isinstance(roots, list)
            assert len(roots) == 1
        for cluster in clusters:
            cluster.at(a, last)


def details(hub: OneHub, name: str) -> str:
    """What `fedgate check` says at *hub* of all that is called *name*."""
    checks = hub.admin.get("/v1/check").get("checks")
    assert isinstance(checks, list)
    return "; ".join(text(c.get("detail")) for c in checks if isinstance(c, dict) and c.get("name") == name)


def rotated(hub: OneHub) -> set[str]:
    """What *hub* renews when it is told to renew everything."""
    done = hub.admin.post("/v1/rotate", {"force": True}).get("done")
    assert isinstance(done, list)
    return {text(item.get("what")) for item in done if isinstance(item, dict)}


def hub_ca(hub: OneHub) -> str:
    held = hub.admin.get("/v1/ca").get("hub_ca")
    assert isinstance(held, dict)
    return text(held.get("fingerprint"))


def phase(hub: OneHub) -> str:
    return text(hub.admin.get("/v1/ca/rollover").get("phase"))
