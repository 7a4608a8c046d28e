from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from clusters.model import Export, Import, Offering
from clusters.names import ClusterName, ServiceName
from clusters.services import Port, Protocol, Traffic, TrafficPolicy
from federation.registry import keyspace
from federation.registry.clusterset import Clusterset
from federation.registry.codec import encode
from federation.registry.merge import CONFLICTS_SHOWN, merge
from federation.registry.records import ClusterRecord, ExportRecord, ServiceRecord
from tests.builders import CLOUD, ONPREM

CATALOG = ServiceName("shop", "catalog")
START = datetime(2026, 1, 1, tzinfo=UTC)
EDGE = ClusterName("edge")

HTTP = Port(8080, "http")
ADMIN = Port(9000, "admin")


def exported(*ports: Port, day: int = 0, ready: int = 1) -> ExportRecord:
    """An export of the catalog that the hub has known since *day*."""
    return ExportRecord(Export(CATALOG, ports, ready), START + timedelta(days=day))


def merged(exports: Mapping[ClusterName, ExportRecord]) -> Import:
    imported = merge(CATALOG, 7, exports)
    assert imported is not None
    return imported


def test_a_service_that_nobody_exports_is_none() -> None:
    assert merge(CATALOG, 7, {}) is None


def test_one_exporter_is_taken_as_it_is() -> None:
    assert merged({ONPREM: exported(HTTP, ready=3)}) == Import(
        CATALOG, 7, (HTTP,), (Offering(ONPREM, (HTTP,), 3),)
    )


def test_ports_are_the_union_and_each_cluster_offers_its_own() -> None:
    imported = merged({ONPREM: exported(ADMIN), CLOUD: exported(HTTP, ready=2)})
    assert imported.ports == (HTTP, ADMIN)
    assert imported.offerings == (Offering(CLOUD, (HTTP,), 2), Offering(ONPREM, (ADMIN,), 1))
    assert imported.conflict == ""


def sharing(policy: TrafficPolicy, weight: int, day: int) -> ExportRecord:
    record = exported(HTTP, day=day)
    return replace(record, export=replace(record.export, traffic=Traffic(policy, weight)))


def test_clusters_that_share_calls_by_weight_keep_their_own_weights() -> None:
    by_weight = TrafficPolicy.WEIGHTED
    imported = merged({ONPREM: sharing(by_weight, 20, 0), CLOUD: sharing(by_weight, 80, 1)})
    assert imported.policy is TrafficPolicy.WEIGHTED
    assert [(o.cluster, o.weight) for o in imported.offerings] == [(CLOUD, 80), (ONPREM, 20)]
    assert imported.conflict == ""


def test_of_two_policies_the_oldest_exports_wins_and_the_conflict_says_so() -> None:
    imported = merged({ONPREM: exported(HTTP, day=0), CLOUD: sharing(TrafficPolicy.WEIGHTED, 80, 1)})
    assert imported.policy is TrafficPolicy.FAILOVER
    assert imported.conflict.endswith("onprem wants Failover, cloud wants Weighted")


def test_one_number_may_have_two_protocols() -> None:
    udp = Port(8080, "http-3", Protocol.UDP)
    imported = merged({ONPREM: exported(HTTP), CLOUD: exported(udp, day=1)})
    assert imported.ports == (HTTP, udp)
    assert imported.conflict == ""


def test_who_disagrees_on_a_port_gets_the_words_of_the_oldest_and_offers_it_still() -> None:
    grpc = Port(8080, "grpc", app_protocol="grpc")
    imported = merged({CLOUD: exported(HTTP, day=1), ONPREM: exported(grpc, day=0)})
    assert imported.ports == (grpc,)
    assert [offering.ports for offering in imported.offerings] == [(grpc,), (grpc,)]
    assert imported.conflict == (
        "exporters disagree, the oldest wins: onprem has grpc:8080/TCP (grpc), cloud has http:8080/TCP"
    )


def test_a_name_means_one_port_and_the_younger_one_is_left_out() -> None:
    other = Port(8081, "http")
    imported = merged({ONPREM: exported(HTTP, day=0), CLOUD: exported(other, ADMIN, day=1)})
    assert imported.ports == (HTTP, ADMIN)
    assert imported.offerings[0] == Offering(CLOUD, (ADMIN,), 1)
    assert "onprem has http:8080/TCP, cloud has http:8081/TCP" in imported.conflict


def test_of_two_that_are_equally_old_the_name_decides() -> None:
    imported = merged({ONPREM: exported(HTTP), CLOUD: exported(Port(8080, "web"))})
    assert imported.ports == (Port(8080, "web"),)


def test_many_conflicts_stay_one_short_line() -> None:
    mine = [Port(number, f"a-{number}") for number in range(1, 100)]
    yours = [Port(number, f"b-{number}") for number in range(1, 100)]
    conflict = merged({ONPREM: exported(*mine), CLOUD: exported(*yours)}).conflict
    assert conflict.count("onprem has") == CONFLICTS_SHOWN
    assert conflict.endswith(f"and {99 - CONFLICTS_SHOWN} more")


def test_one_that_asks_for_passthrough_has_it_for_all_and_the_others_are_told() -> None:
    asking = replace(exported(HTTP, day=1), export=Export(CATALOG, (HTTP,), 1, passthrough=True))
    assert merged({CLOUD: asking}).passthrough
    assert merged({CLOUD: asking}).conflict == ""
    both = merged({CLOUD: asking, ONPREM: exported(HTTP)})
    assert both.passthrough
    assert both.conflict == "passthrough for all: cloud asks for it, onprem does not"
    assert not merged({ONPREM: exported(HTTP)}).passthrough


ports = st.builds(
    Port,
    st.integers(1, 4),
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from(Protocol),
    st.sampled_from([None, "http", "grpc"]),
)
exports = st.dictionaries(
    st.sampled_from([ONPREM, CLOUD, EDGE, ClusterName("west")]),
    st.builds(
        lambda ports, day, ready: exported(*ports, day=day, ready=ready),
        st.lists(ports, min_size=1, max_size=4),
        st.integers(0, 2),
        st.integers(0, 9),
    ),
    min_size=1,
)


@given(exports, st.randoms())
def test_the_order_of_exports_does_not_matter(
    exports: dict[ClusterName, ExportRecord], chance: Random
) -> None:
    shuffled = list(exports.items())
    chance.shuffle(shuffled)
    assert merge(CATALOG, 7, dict(shuffled)) == merge(CATALOG, 7, exports)


@given(exports)
def test_an_import_makes_sense_to_kubernetes(exports: dict[ClusterName, ExportRecord]) -> None:
    imported = merged(exports)
    numbers = [(port.number, port.protocol) for port in imported.ports]
    names = [port.name for port in imported.ports]
    assert len(set(numbers)) == len(numbers)
    assert len(set(names)) == len(names)
    assert numbers == sorted(numbers)
    for offering in imported.offerings:
        assert set(offering.ports) <= set(imported.ports)


@given(exports)
def test_the_oldest_gets_all_that_it_asks_for(exports: dict[ClusterName, ExportRecord]) -> None:
    oldest = min(exports, key=lambda name: (exports[name].first_exported_at, name))
    alone = merged({oldest: exports[oldest]})
    assert set(alone.ports) <= set(merged(exports).ports)


@given(exports, st.randoms())
def test_the_order_of_an_exports_ports_does_not_matter(
    exports: dict[ClusterName, ExportRecord], chance: Random
) -> None:
    shuffled = {}
    for name, record in exports.items():
        said = list(record.export.ports)
        chance.shuffle(said)
        shuffled[name] = replace(record, export=replace(record.export, ports=tuple(said)))
    assert merge(CATALOG, 7, shuffled) == merge(CATALOG, 7, exports)


clusters = st.sampled_from([ONPREM, CLOUD, EDGE])
records = st.builds(
    lambda ports, day, policy, passthrough: ExportRecord(
        Export(CATALOG, tuple(ports), 1, Traffic(policy), passthrough), START + timedelta(days=day)
    ),
    st.lists(ports, min_size=1, max_size=3),
    st.integers(0, 2),
    st.sampled_from(TrafficPolicy),
    st.booleans(),
)
said = st.one_of(
    st.tuples(clusters.map(lambda name: keyspace.export(name, CATALOG)), st.none() | records),
    clusters.map(
        lambda name: (keyspace.cluster(name), ClusterRecord(name, f"{name}.fed.example", (), START))
    ),
    clusters.map(lambda name: (keyspace.cluster(name), None)),
    st.just((keyspace.service(CATALOG), ServiceRecord(7, ()))),
)


@given(st.lists(said, max_size=12), st.randoms())
def test_who_follows_each_change_has_what_is_merged_from_the_end_in_any_order(
    told: list[tuple[str, object | None]], chance: Random
) -> None:
    following, known = Clusterset(), None
    for key, record in told:
        if CATALOG in following.apply(key, encode(record) if record else None).services:
            known = following.import_(CATALOG)
    whole, last = Clusterset(), list(dict(told).items())
    chance.shuffle(last)
    for key, record in last:
        whole.apply(key, encode(record) if record else None)
    assert known == whole.import_(CATALOG)
