from dataclasses import replace

import pytest

from clusters.errors import InvalidName
from clusters.model import GatewayRecord, Member
from federation.errors import UnreadableRecord
from federation.registry import keyspace
from federation.registry.clusterset import NOTHING, Change, Clusterset
from federation.registry.codec import encode
from federation.registry.records import (
    AliveRecord,
    ClusterRecord,
    ClusterState,
    ExportRecord,
    ServiceRecord,
    StatusRecord,
)
from tests.builders import CLOUD, HTTP, ONPREM, federation, jwt_keys
from tests.federation.registry.worlds import NOW, exports, service

CATALOG = service("catalog")
CLUSTER = ClusterRecord(ONPREM, "onprem.fed.example", ("ANCHOR",), NOW)
EXPORT = ExportRecord(exports("catalog")[CATALOG], NOW)


def holding(**records: object) -> Clusterset:
    """A clusterset with cluster onprem that exports the catalog, unless told otherwise."""
    clusterset = Clusterset()
    cluster = records.get("cluster", CLUSTER)
    if cluster:
        clusterset.apply(keyspace.cluster(ONPREM), encode(cluster))
    clusterset.apply(keyspace.export(ONPREM, CATALOG), encode(EXPORT))
    clusterset.apply(keyspace.service(CATALOG), encode(ServiceRecord(1, (ONPREM,))))
    return clusterset


def test_an_empty_clusterset_answers_every_question() -> None:
    empty = Clusterset()
    assert (empty.federation, empty.clusters, empty.services) == (None, (), ())
    assert (empty.import_(CATALOG), empty.member(ONPREM), empty.record(ONPREM)) == (None, None, None)
    assert (empty.status(ONPREM), empty.connected(ONPREM), empty.exports(ONPREM)) == (None, False, {})
    assert (list(empty.imports()), list(empty.members())) == ([], [])


def test_a_member_is_seen_with_its_gateways_by_name() -> None:
    clusterset = holding()
    one, two = GatewayRecord("gw-1", ("192.0.2.1",)), GatewayRecord("gw-2", ("192.0.2.2",))
    for gateway in (two, one):
        change = clusterset.apply(keyspace.gateway(ONPREM, gateway.name), encode(gateway))
        assert change == Change(clusters=frozenset({ONPREM}))
    assert clusterset.member(ONPREM) == Member(ONPREM, "onprem.fed.example", ("ANCHOR",), (one, two))


def test_a_member_is_seen_with_its_jwt_keys() -> None:
    clusterset, keys = holding(), jwt_keys(ONPREM)
    change = clusterset.apply(keyspace.jwt_keys(ONPREM), encode(keys))
    assert change == Change(clusters=frozenset({ONPREM}))
    member = clusterset.member(ONPREM)
    assert member
    assert member.jwt_keys == keys.keys


def test_what_a_cluster_exports_is_an_import_of_everybody() -> None:
    clusterset = holding()
    (imported,) = clusterset.imports()
    assert imported == clusterset.import_(CATALOG)
    assert (imported.index, imported.ports) == (1, (HTTP,))
    assert clusterset.exports(ONPREM) == {CATALOG: EXPORT.export}


def test_the_exports_of_a_name_that_is_no_member_have_no_effect() -> None:
    clusterset = holding(cluster=None)
    assert (clusterset.services, clusterset.import_(CATALOG)) == ((), None)


def test_a_cluster_that_comes_or_goes_takes_its_services_with_it() -> None:
    clusterset = holding(cluster=None)
    everything = Change(frozenset({CATALOG}), frozenset({ONPREM}))
    assert clusterset.apply(keyspace.cluster(ONPREM), encode(CLUSTER)) == everything
    assert clusterset.services == (CATALOG,)
    leaving = replace(CLUSTER, state=ClusterState.LEAVING)
    assert clusterset.apply(keyspace.cluster(ONPREM), encode(leaving)) == everything
    assert [*clusterset.imports(), *clusterset.members()] == []
    assert clusterset.apply(keyspace.cluster(ONPREM), None) == everything


def test_status_and_presence_of_a_cluster_concern_that_cluster() -> None:
    clusterset = holding()
    concerned = Change(clusters=frozenset({ONPREM}))
    assert clusterset.apply(keyspace.status(ONPREM), encode(StatusRecord(NOW))) == concerned
    assert clusterset.apply(keyspace.alive(ONPREM), encode(AliveRecord(NOW))) == concerned
    assert clusterset.connected(ONPREM)
    assert clusterset.apply(keyspace.alive(ONPREM), None) == concerned
    assert not clusterset.connected(ONPREM)
    assert clusterset.status(ONPREM) == StatusRecord(NOW)


def test_what_is_the_same_for_everybody_is_known_once_it_is_written() -> None:
    clusterset = Clusterset()
    assert clusterset.apply(keyspace.FEDERATION, encode(federation())) == Change(federation=True)
    assert clusterset.federation == federation()


def test_deleting_an_export_that_was_never_there_is_harmless() -> None:
    clusterset = holding()
    clusterset.apply(keyspace.export(CLOUD, CATALOG), None)
    clusterset.apply(keyspace.gateway(CLOUD, "gw"), None)
    assert clusterset.services == (CATALOG,)


@pytest.mark.parametrize(
    "key",
    ["fedgate/tokens/t1", "fedgate/vips/next", "fedgate/of/the/future", "fedgate/", "other/clusters/x"],
)
def test_a_key_of_another_kind_changes_nothing(key: str) -> None:
    assert holding().apply(key, b"whatever") == NOTHING


def test_a_record_that_makes_no_sense_is_refused_and_the_last_good_one_stays() -> None:
    clusterset = holding()
    before = clusterset.import_(CATALOG)
    for key in (keyspace.cluster(ONPREM), keyspace.export(ONPREM, CATALOG), keyspace.service(CATALOG)):
        with pytest.raises(UnreadableRecord, match=key):
            clusterset.apply(key, b'{"schema":99}')
    with pytest.raises(InvalidName):
        clusterset.apply("fedgate/exports/onprem/SHOP/catalog", encode(EXPORT))
    assert clusterset.import_(CATALOG) == before


def test_changes_are_joined() -> None:
    joined = Change.joined([Change(frozenset({CATALOG})), NOTHING, Change(clusters=frozenset({ONPREM}))])
    assert joined == Change(frozenset({CATALOG}), frozenset({ONPREM}))
    assert not Change.joined([])
    assert Change.joined([Change(federation=True)])
