"""Who is seen at the far side, when many call at once and by the same connections between the gateways."""

from collections.abc import Iterator

import pytest

from tests.system import servers
from tests.system.cluster import CROWD, STRANGERS, Cluster, Entry, member, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]

CALLS = 200


def crowd_of(cluster: Cluster) -> dict[str, str]:
    """The SPIFFE ID of each address of *cluster*'s crowd."""
    return {address: cluster.identity(member(address)) for address in CROWD}


def enough(cluster: Cluster, begin: int, connections: int) -> list[Entry]:
    """The log of *cluster*'s ingress, once it is so long."""
    log = cluster.calls(begin)
    return log if len(log) >= connections else []


@pytest.mark.slow
def test_fifty_sources_with_two_hundred_calls_each_are_always_seen_as_themselves(fed: Federation) -> None:
    """Half of the calls are on connections of their own, half on four that are kept."""
    caller, callee = fed.onprem, fed.cloud
    vips = caller.caller.ask(dict[str, list[str]], "resolve", name=callee.service)
    begin = callee.mark()
    made = caller.caller.ask(
        list[tuple[str, str, int]],
        "many",
        target={record: addresses[0] for record, addresses in vips.items()},
        port=servers.WHO,
        sources=CROWD,
        fresh=CALLS // 2,
        kept=4,
        each=CALLS // 8,
    )
    assert sum(calls for _, _, calls in made) == len(CROWD) * CALLS
    assert {source for source, _, _ in made} == set(CROWD)
    connections = len(CROWD) * (CALLS // 2 + 4)
    log = until("every call is logged", enough, callee, begin, connections)
    assert len(log) == connections
    seen = {entry.upstream_local: entry.peer for entry in log}
    assert len(seen) == connections, "two connections had the same address: this says nothing"
    right = crowd_of(caller)
    wrong = [(source, seen.get(peer)) for source, peer, _ in made if seen.get(peer) != right[source]]
    assert wrong == []


@pytest.mark.slow
def test_of_every_request_the_server_is_told_who_sent_it_and_the_far_gateway_sees_the_same(
    fed: Federation,
) -> None:
    """Fifty sources with two hundred requests each, and calls in bytes by the same connections meanwhile."""
    caller, callee = fed.onprem, fed.cloud
    vips = caller.caller.ask(dict[str, list[str]], "resolve", name=callee.service)
    begin = callee.mark()
    made = caller.caller.ask(
        list[tuple[str, list[str], int]],
        "many_told",
        target={record: addresses[0] for record, addresses in vips.items()},
        http=servers.TOLD,
        raw=servers.WHO,
        sources=CROWD,
        kept=4,
        each=CALLS // 8,
    )
    requests = [(source, seen, times) for source, seen, times in made if len(seen) > 1]
    assert sum(times for _, _, times in requests) == len(CROWD) * CALLS
    assert len(made) - len(requests) == len(CROWD) * CALLS // 20
    right, gateway = crowd_of(caller), f"spiffe://{caller.name}.fed.example/gateway/egress/gw-1"
    told = {source: f"By={gateway};URI={identity}" for source, identity in right.items()}
    assert [(source, seen[1:]) for source, seen, _ in requests if seen[1:] != [told[source]]] == []
    log: dict[str, set[str]] = {}
    for entry in until("every tunnel is logged", logged, callee, begin, {seen[0] for _, seen, _ in made}):
        log.setdefault(entry.upstream_local, set()).add(entry.peer)
    assert [(source, seen[0]) for source, seen, _ in made if right[source] not in log[seen[0]]] == []
    assert sum(len(peers) > 1 for peers in log.values()) < len(log) / 100, "addresses came round too often"


def logged(cluster: Cluster, begin: int, peers: set[str]) -> list[Entry]:
    """The log of *cluster*'s ingress, once it has all of *peers*."""
    log = cluster.calls(begin)
    return log if peers <= {entry.upstream_local for entry in log} else []


@pytest.mark.parametrize("way", ["onprem-cloud", "cloud-onprem", "cloud-cloud"])
@pytest.mark.parametrize("source", STRANGERS, ids=["ipv4", "ipv6"])
def test_a_source_that_nobody_knows_is_refused_at_the_door(fed: Federation, way: str, source: str) -> None:
    caller, callee = (fed[name] for name in way.split("-"))
    begin = callee.mark()
    let_out = caller.let_out()
    assert dial(caller, callee, source) == ""
    assert caller.let_out() == let_out
    assert dial(caller, callee, CROWD[source.count(":") > 0]) != ""
    (entry,) = until("the call that went is logged", callee.calls, begin)
    assert entry.peer in crowd_of(caller).values()


@pytest.fixture
def contested(fed: Federation) -> Iterator[tuple[str, str]]:
    """Two addresses that two workloads claim, for as long as the test runs."""
    cluster, (one, two) = fed.onprem, CROWD[:2]
    with cluster.edited() as source:
        source["workloads"].append({"namespace": "shop", "name": "impostor", "addresses": [one, two]})
        cluster.write(source)
        until("the claims clash", claimed_twice, cluster)
        yield one, two
    for address in (one, two):
        until(f"{address} may call again", dial, cluster, fed.cloud, address)


def claimed_twice(cluster: Cluster) -> bool:
    return "claimed twice" in cluster.fedgate("check", "--agent", str(cluster.state)).stdout


def test_a_source_that_two_workloads_claim_is_neither_of_them(
    fed: Federation, contested: tuple[str, str]
) -> None:
    for address in contested:
        until(f"{address} is refused", refused, fed.onprem, fed.cloud, address)
    assert dial(fed.onprem, fed.cloud, CROWD[2])


def dial(caller: Cluster, callee: Cluster, source: str) -> str:
    """The peer that *callee*'s service saw in a call from *source*; empty if it was refused."""
    vips = caller.caller.ask(dict[str, list[str]], "resolve", name=callee.service)
    return caller.caller.who(vips["AAAA" if ":" in source else "A"][0], source)


def refused(caller: Cluster, callee: Cluster, source: str) -> bool:
    return not dial(caller, callee, source)
