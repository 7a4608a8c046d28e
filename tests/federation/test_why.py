"""Why a cluster has a service, or has it not."""

from dataclasses import replace

import pytest

from clusters.model import GatewayRecord
from clusters.names import ClusterName
from clusters.reports import Probe, Probes
from federation.errors import NotFound
from federation.probing import Probing
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.grants import Default, Defaults, Grant, Grants
from federation.registry.records import AliveRecord
from federation.why import Explanation, explain
from tests.builders import CLOUD, HTTP, ONPREM, VIP_RANGES
from tests.federation.registry.worlds import NOW, service
from tests.federation.test_facing import EDGE, Hub


@pytest.fixture
def hub() -> Hub:
    """onprem and cloud export the cart, and are connected; cloud has a gateway."""
    made = Hub()
    for day, name in enumerate((ONPREM, CLOUD)):
        made.export(name, "cart", day=day)
        made.put(keyspace.alive(name), AliveRecord(NOW))
    made.put(keyspace.gateway(CLOUD, "gw-1"), GatewayRecord("gw-1", ("192.0.2.9",)))
    return made


def explained(hub: Hub, home: ClusterName, probing: Probing | None = None) -> Explanation:
    return explain(hub.known, probing or Probing(), service("cart"), home, VIP_RANGES)


def told(found: Explanation, step: str) -> list[tuple[str, str]]:
    return [(each.holds, each.text) for each in found.steps if each.step == step]


def probing(*, up: bool, reason: str = "") -> Probing:
    said = Probing()
    said.hear(EDGE, {"gw-1": Probes("gw-1", (Probe(CLOUD, "192.0.2.9:15008", up, NOW, reason),))})
    return said


def test_what_everybody_has_is_explained_by_who_exports_it_how_it_is_merged_and_whether_it_is_reached(
    hub: Hub,
) -> None:
    found = explained(hub, EDGE, probing(up=True))
    assert found.imported
    assert found.vips == ("241.0.0.4", "fd5f:ed:6a7e::4")
    assert told(found, "exported")[0] == (
        "yes",
        "onprem exports http:8080/TCP since 2026-01-02T00:00:00Z, 1 ready",
    )
    assert told(found, "granted")[0] == ("yes", "onprem may export it, by default")
    assert told(found, "importable") == [("yes", "edge may import it, by default")]
    assert told(found, "merged") == [("yes", "edge has it of cloud, onprem: http:8080/TCP (L7); Failover")]
    assert told(found, "reachable") == [
        ("yes", "edge reaches cloud: 1 of 1 probes are up"),
        ("no", "onprem has no gateways: it names none"),
    ]


def test_grants_are_named_and_so_is_what_is_missing(hub: Hub) -> None:
    hub.grant(Grant("shop", ("onprem",), exports=("shop/*",), to=("cloud",)))
    found = explained(hub, EDGE)
    assert found.imported is None
    assert told(found, "granted") == [
        ("yes", "onprem may export it, by grant shop"),
        ("no", "no grant lets cloud export shop/cart"),
    ]
    assert told(found, "meant") == [("no", "no grant lets onprem export shop/cart to edge")]
    assert told(found, "merged") == [("no", "nothing of it is for edge")]
    assert told(explained(hub, CLOUD), "meant") == [("yes", "that is for cloud, by grant shop")]


def test_who_may_import_nothing_is_told_so(hub: Hub) -> None:
    hub.grant(defaults=Defaults(imports=Default.DENY))
    assert told(explained(hub, EDGE), "importable") == [("no", "no grant lets edge import shop/cart")]


def test_a_conflict_and_gateways_that_are_refused_or_dead_are_said(hub: Hub) -> None:
    hub.export(CLOUD, "cart", replace(HTTP, app_protocol="grpc"), day=1)
    hub.put(keyspace.gateway(ONPREM, "gw-1"), GatewayRecord("gw-1", ("127.0.0.1",)))
    found = explained(hub, EDGE, probing(up=False, reason="timed out"))
    assert "exporters disagree" in told(found, "merged")[1][1]
    assert told(found, "reachable") == [
        ("no", "edge's gw-1 does not reach 192.0.2.9:15008: timed out"),
        ("no", "onprem has no gateways: 127.0.0.1 is loopback, another place for each that dials it"),
    ]


def test_a_cluster_that_is_away_or_has_nothing_ready_is_said(hub: Hub) -> None:
    hub.put(keyspace.alive(CLOUD), None)
    hub.put(keyspace.GRANTS, Grants())
    (away, unknown, *_) = told(explained(hub, EDGE), "reachable")
    assert away == ("note", "cloud is not connected to the hub: this is what it said last")
    assert unknown[0] == "note"


def test_a_service_that_nobody_knows_is_not_found_and_what_comes_close_is_named(hub: Hub) -> None:
    with pytest.raises(NotFound) as refused:
        explain(hub.known, Probing(), service("card"), EDGE, VIP_RANGES)
    assert "shop/cart" in refused.value.hint


def test_what_nobody_may_export_is_known_all_the_same(hub: Hub) -> None:
    hub.grant()
    assert [holds for holds, _ in told(explained(hub, ONPREM), "granted")] == ["no", "no"]


def test_its_document_is_for_programs(hub: Hub) -> None:
    document = explained(hub, EDGE).document()
    assert (document["visible"], document["clusters"], document["from"]) == (True, [CLOUD, ONPREM], EDGE)
    assert encode(document)
