"""What is known of gateways by others' probes."""

from datetime import UTC, datetime

import pytest

from clusters.model import MAX_GATEWAYS
from clusters.reports import Probe, Probes
from federation.errors import ChangesRejected
from federation.probing import Probing
from tests.builders import CLOUD, ONPREM

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def probes(*clusters: str) -> Probes:
    return Probes(
        "gw-1", tuple(Probe(cluster, "192.0.2.1:15008", up=True, since=NOW) for cluster in clusters)
    )


def test_a_cluster_is_seen_by_all_others_and_not_by_itself() -> None:
    probing = Probing()
    probing.hear(ONPREM, {"gw-1": probes("onprem", "cloud")})
    probing.hear(CLOUD, {"gw-1": probes("onprem", "cloud")})
    assert [seen.by for seen in probing.of(CLOUD)] == [ONPREM]


def test_what_was_said_is_as_old_as_the_end_of_its_connection() -> None:
    probing = Probing()
    probing.hear(ONPREM, {"gw-1": probes("cloud")})
    assert [seen.said for seen in probing.of(CLOUD)] == [None]
    probing.lost(ONPREM, NOW)
    assert [seen.said for seen in probing.of(CLOUD)] == [NOW]
    probing.connected(ONPREM)
    assert [seen.said for seen in probing.of(CLOUD)] == [None]


def test_of_a_cluster_that_left_and_of_a_gateway_that_says_nothing_more_nothing_is_known() -> None:
    probing = Probing()
    probing.hear(ONPREM, {"gw-1": probes("cloud")})
    probing.hear(ONPREM, {"gw-1": None})
    assert probing.said_by(ONPREM) == ()
    probing.hear(ONPREM, {"gw-1": probes("cloud")})
    probing.forget(ONPREM)
    assert list(probing.of(CLOUD)) == []


def test_the_connection_of_a_cluster_that_left_may_end_later_and_leaves_nothing_behind() -> None:
    probing = Probing()
    probing.hear(ONPREM, {"gw-1": probes("cloud")})
    probing.forget(ONPREM)
    probing.lost(ONPREM, NOW)
    probing.hear(ONPREM, {"gw-1": probes("cloud")})
    assert [seen.said for seen in probing.of(CLOUD)] == [None]


def test_of_a_cluster_that_tells_of_gateways_without_end_none_is_taken_in() -> None:
    probing = Probing()
    probing.hear(ONPREM, {"gw-1": probes("cloud")})
    before = probing.said_by(ONPREM)
    with pytest.raises(ChangesRejected, match="onprem tells of more than 128"):
        probing.hear(ONPREM, {f"gw-{count}": probes("cloud") for count in range(MAX_GATEWAYS + 1)})
    assert probing.said_by(ONPREM) == before
