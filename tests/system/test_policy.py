"""Who may call, and what is offered: the source file's word, in force at once, and its mistakes in none."""

from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.system import servers
from tests.system.cluster import CROWD, Cluster, member, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]

ONE, TWO = CROWD[0], CROWD[2]  # IPv4 both


@pytest.fixture
def allowing(fed: Federation) -> Iterator[Callable[..., None]]:
    """Let exactly these SPIFFE IDs call the catalog, until the test ends."""
    with fed.cloud.edited() as source:
        (catalog,) = source["services"]

        def allow(*patterns: str) -> None:
            catalog["allow"] = list(patterns)
            fed.cloud.write(source)

        yield allow
    for cluster in fed.clusters:
        until("everybody may call again", passes, cluster, fed.cloud, TWO)


def passes(caller: Cluster, callee: Cluster, source: str) -> bool:
    """Whether a call from *source* is answered."""
    return bool(caller.caller.who(callee.service, source))


def refuses(caller: Cluster, callee: Cluster, source: str) -> bool:
    """Whether it is not."""
    return not passes(caller, callee, source)


def test_only_those_who_are_allowed_may_call_and_home_is_no_exception(
    fed: Federation, allowing: Callable[..., None]
) -> None:
    onprem, cloud = fed.clusters
    allowing(onprem.identity(member(ONE)))
    until("home is refused", refuses, cloud, cloud, ONE)
    verdicts = {(c.name, a): passes(c, cloud, a) for c in fed.clusters for a in (ONE, TWO)}
    assert verdicts == {
        ("onprem", ONE): True,
        ("onprem", TWO): False,
        ("cloud", ONE): False,  # the same address, and another identity
        ("cloud", TWO): False,
    }
    allowing(cloud.identity("*"))
    until("home may call", passes, cloud, cloud, TWO)
    assert not passes(onprem, cloud, ONE)


def test_a_new_rule_acts_on_the_next_call_and_leaves_open_connections_alone(
    fed: Federation, allowing: Callable[..., None]
) -> None:
    onprem, cloud = fed.clusters
    onprem.caller.ask(int, "begin", name=cloud.service, port=servers.WHO, sources=[ONE], kept=3)
    allowing(cloud.identity("*"))
    until("new calls are refused", refuses, onprem, cloud, TWO)
    ended = onprem.caller.ask(dict[str, object], "end")
    failures = cast("list[str]", ended["failures"])
    assert failures, "fresh calls ought to have been refused"
    assert all(failure.startswith("fresh") for failure in failures)


def test_an_address_that_passes_to_another_workload_is_that_ones_though_connections_are_kept(
    fed: Federation,
) -> None:
    """Calls go on all the while, so no connection between the gateways comes to an end by itself."""
    onprem, cloud = fed.clusters
    onprem.caller.ask(int, "begin", name=cloud.service, port=servers.WHO, sources=[ONE], kept=3)
    with onprem.edited() as source:
        (owner,) = (w for w in source["workloads"] if w["name"] == member(ONE))
        owner["name"] = "heir"
        onprem.write(source)
        until("the heir is seen", seen_as, onprem, cloud, onprem.identity("heir"))
    until("the owner is seen again", seen_as, onprem, cloud, onprem.identity(member(ONE)))
    assert onprem.caller.ask(dict[str, object], "end", after=0)["failures"] == []


def seen_as(caller: Cluster, callee: Cluster, identity: str) -> bool:
    """Whether a call from the first address is seen at the far side as *identity*'s, three times in a row."""
    return all(callee.caller_of(caller.caller.who(callee.service, ONE)) == identity for _ in range(3))


def test_a_broken_edit_changes_nothing_and_is_reported_with_line_and_path(fed: Federation) -> None:
    onprem, cloud = fed.clusters
    with cloud.edited():
        cloud.write("workloads: []\nservices: []\ngateways: []\nservice:\n- name: catalog\n")
        report = until("the mistake is noticed", failed_check, cloud)
        assert f"{cloud.name}.yaml" in report
        assert "4:1 service" in report
        assert "4:1 service" in cloud.fedgate("status", "--agent", str(cloud.state)).stdout
        assert passes(onprem, cloud, ONE)
        assert passes(cloud, onprem, ONE)
    until("the source is good again", is_well, cloud)


def failed_check(cluster: Cluster) -> str:
    """What `fedgate check` says of *cluster*'s agent, if something fails."""
    done = cluster.fedgate("check", "--agent", str(cluster.state))
    return done.stdout if done.returncode == 1 else ""


def is_well(cluster: Cluster) -> bool:
    return not failed_check(cluster)
