"""Calls by name, as programs make them, from one cluster to the other: every protocol, both ways.

Workloads of both clusters have the same addresses; the clusters reach each other only by their gateways.
"""

import hashlib
from collections.abc import Iterator

import pytest

from tests import requirements
from tests.system import servers
from tests.system.cluster import REDIS, Cluster, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.xdist_group("federation")]

BOTH_WAYS = pytest.mark.parametrize("way", ["onprem-cloud", "cloud-onprem", "cloud-cloud"])
FAMILIES = pytest.mark.parametrize("record", ["A", "AAAA"])


@pytest.fixture(scope="module", params=["192.0.2.", "2001:db8:2::"], ids=["over-ipv4", "over-ipv6"])
def underlay(fed: Federation, request: pytest.FixtureRequest) -> Iterator[str]:
    """The family over which gateways dial each other: the one of which their clusters tell addresses."""
    family: str = request.param
    for cluster in fed.clusters:
        (gateway,) = cluster.source["gateways"]
        gateway["addresses"] = [a for a in cluster.site.underlay if a.startswith(family)]
        cluster.write(cluster.source)
    for cluster in fed.clusters:
        until(f"{cluster.name} is dialled at {family}", is_dialled_at, fed, cluster, family)
    yield family
    for cluster in fed.clusters:
        cluster.source["gateways"][0]["addresses"] = list(cluster.site.underlay)
        cluster.write(cluster.source)


def is_dialled_at(fed: Federation, cluster: Cluster, family: str) -> bool:
    """Whether a new call to *cluster* comes from an address of *family*."""
    peer = fed.other(cluster).caller.who(cluster.service, fed.other(cluster).site.callers[0])
    return cluster.call_of(peer).downstream_remote.strip("[").startswith(family)


@pytest.fixture
def ends(fed: Federation, underlay: str, way: str) -> tuple[Cluster, Cluster]:
    """Who calls, and who answers."""
    del underlay
    caller, callee = way.split("-")
    return fed[caller], fed[callee]


@BOTH_WAYS
@FAMILIES
@pytest.mark.parametrize(
    ("kind", "protocol", "port"),
    [
        ("http1", "HTTP/1.1", 8080),
        ("http2", "HTTP/2", 8080),
        ("websocket", "WebSocket", 8080),
        ("grpc", "gRPC", 9090),
        ("tcp", "TCP", 7070),
    ],
    ids=["http1", "http2", "websocket", "grpc", "server-first"],
)
def test_a_sample_is_called_by_name_and_knows_the_caller(
    ends: tuple[Cluster, Cluster], kind: str, protocol: str, port: int, record: str
) -> None:
    caller, callee = ends
    answered_by, spoken, peer = caller.caller.ask(
        list[str], "sample", kind=kind, name=callee.service, port=port, record=record
    )
    assert (answered_by, spoken) == (callee.site.answers_as, protocol)
    assert callee.caller_of(peer, in_http=kind != "tcp") == caller.site.caller_id


@BOTH_WAYS
@FAMILIES
def test_http_bodies_in_chunks_pass_both_ways_on_a_kept_connection(
    ends: tuple[Cluster, Cluster], record: str
) -> None:
    caller, callee = ends
    to = {"name": callee.service, "port": servers.HTTP, "record": record}
    assert caller.caller.ask(str, "chunked", **to) == "chunked,chunked"


@BOTH_WAYS
@FAMILIES
def test_a_real_redis_answers(ends: tuple[Cluster, Cluster], record: str) -> None:
    requirements.program("redis-server")
    caller, callee = ends
    to = {"name": callee.service, "port": REDIS, "record": record}
    assert caller.caller.ask(list[str], "redis", **to) == ["OK", "1", "2", "100 pongs"]


@BOTH_WAYS
@FAMILIES
def test_a_caller_that_half_closes_gets_the_late_answer(ends: tuple[Cluster, Cluster], record: str) -> None:
    caller, callee = ends
    to = {"name": callee.service, "port": servers.LATE, "record": record}
    assert caller.caller.ask(bool, "half_closed", **to)


@BOTH_WAYS
def test_ten_megabytes_arrive_as_they_were_sent_both_ways_at_once(ends: tuple[Cluster, Cluster]) -> None:
    caller, callee = ends
    to = {"name": callee.service, "port": servers.ECHO, "size": 10 << 20}
    sent, received = caller.caller.ask(list[str], "bulk", **to)
    assert sent == received


@BOTH_WAYS
def test_nothing_is_lost_of_what_a_server_says_that_closes_first(ends: tuple[Cluster, Cluster]) -> None:
    caller, callee = ends
    to = {"name": callee.service, "port": servers.FIRST, "times": 40}
    said = caller.caller.ask(list[str], "hear_out", **to)
    assert said == [hashlib.sha256(servers.ALL_OF_IT).hexdigest()] * 40
