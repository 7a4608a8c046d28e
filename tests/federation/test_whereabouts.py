"""Where an agent looks for hubs."""

from dataclasses import replace

from clusters.identity import Membership
from clusters.names import ClusterName
from federation.whereabouts import Whereabouts
from tests.builders import federation


def test_hubs_that_run_come_first_and_those_known_from_the_join_are_not_forgotten() -> None:
    membership = Membership(ClusterName("west"), "", "", ("old:2", "a:2"), (), ("old:1", "a:1"))
    told = replace(federation(), join=("a:1", "b:1"), sync=("a:2", "b:2"))
    hubs = Whereabouts(lambda: told, lambda: membership)
    assert hubs.sync() == ("a:2", "b:2", "old:2")
    assert hubs.join() == ("a:1", "b:1", "old:1")
