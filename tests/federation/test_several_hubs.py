"""Several hubs on one etcd, as processes: they are one federation, and any of them may die."""

import signal
import time
from pathlib import Path

import pytest

from federation.errors import AdminRefused
from federation.registry.election import TTL
from tests import requirements
from tests.federation.registry.etcd_server import etcd
from tests.federation.several_hubs import hubs, until

pytestmark = pytest.mark.slow

_NOTICED = TTL + 5.0  # etcd looks for leases that have ended now and then


def test_a_hub_that_dies_is_followed_by_another_and_comes_back_as_one_of_them(short_path: Path) -> None:
    requirements.program("etcd")
    with etcd(short_path) as (member,), hubs(short_path, f"etcd://{member.endpoint}/fed") as (a, b, c):
        until("all know all", lambda: a.names() == b.names() == c.names() == ["a", "b", "c"] or None)
        assert {each.leader() for each in (a, b, c)} == {"a"}
        (root,) = {str(each.admin.get("/v1/ca")["roots"]) for each in (a, b, c)}
        a.signal(signal.SIGKILL)
        killed = time.monotonic()
        leader = until("another is elected", lambda: b.leader() if b.leader() in ("b", "c") else None)
        assert time.monotonic() - killed < _NOTICED + 15  # on a machine that is busy
        until("it is known everywhere", lambda: c.leader() == leader or None)
        with pytest.raises(AdminRefused, match=f"only the elected hub does this, and that is hub {leader}"):
            (c if leader == "b" else b).admin.post("/v1/ca/rollover", {"step": "start"})
        a.start()
        until("it is known again", lambda: b.names() == ["a", "b", "c"] or None)
        assert a.leader() == leader
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
        until("it takes part again", lambda: a.names() == ["a", "b"] or None)
        assert a.leader() == "b"
        both = [each.admin.get("/v1/ca/rollover") for each in (a, b)]
        assert [rollover["phase"] for rollover in both] == ["spreading", "spreading"]
