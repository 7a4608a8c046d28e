"""Translation as a table of small worlds, and what holds in every world."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.service.discovery.v3.discovery_pb2 import Resource as Frame
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.model import ClusterView, Import, Locality, Offering
from clusters.names import ClusterName, ServiceName
from clusters.services import LocalService
from gateway import names
from gateway.binary import find_envoy
from gateway.bootstrap import UnixAgent, bootstrap, to_json
from gateway.delta import Resource
from gateway.errors import DanglingReference
from gateway.kinds import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from gateway.messages import packed, socket_address
from gateway.proxy import validate
from gateway.snapshot import Changes, Snapshot
from gateway.translate import advance, translate
from tests.builders import CLOUD, HTTP, ONPREM, imported, local_service, view, workload
from tests.gateway.conftest import Golden
from tests.gateway.worlds import AWAY, BOTH, EDGE, HOME, MEMBERS, WORLDS

PASSED = datetime(2026, 1, 1, tzinfo=UTC)

MESSAGES: dict[str, type[Message]] = {
    CLUSTER: Cluster,
    ENDPOINT: ClusterLoadAssignment,
    SECRET: Secret,
    LISTENER: Listener,
    ROUTE: RouteConfiguration,
}

CAPTURES = ("loopback", "redirect")
ROLES = ("ingress-only", "egress-only")
GRANTED = ("served-to-those-granted", "served-to-nobody")
REVOKED = ("but-not-to-the-revoked",)
PORTS = ("many-ports", "port-of-the-ingress", "without-ipv6")
LOGS = ("knows-whose-connections-are",)
ENDPOINTS = ("served", "served-without-endpoints")
# Which worlds show something of a kind that others do not.
SHOWN = {
    "cds": (CLUSTER, ["abroad", "by-name", "home-first", "many-ports", "served", "no-gateways", *ROLES]),
    "eds": (
        ENDPOINT,
        ["abroad", "home-first", "nowhere", "not-ready", "no-gateways", "shut-out", "two-places", *ENDPOINTS],
    ),
    "lds": (
        LISTENER,
        ["empty", "abroad", "nobody", "claimed-twice", "shut-out", *CAPTURES, *PORTS, *ROLES, *LOGS],
    ),
    "rds": (ROUTE, ["abroad", "served", "served-to-some", "served-to-a-trust-domain", *GRANTED, *REVOKED]),
    "sds": (SECRET, ["abroad", "shut-out"]),
}


def message(kind: str, resource: Resource) -> Message:
    """What a gateway unpacks."""
    unpacked = MESSAGES[kind]()
    assert Frame.FromString(resource.body).resource.Unpack(unpacked)
    return unpacked


def messages(snapshot: Snapshot, kind: str) -> list[Message]:
    return [message(kind, resource) for _, resource in sorted(snapshot.resources()[kind].items())]


@pytest.mark.parametrize(("folder", "world"), [(f, w) for f, (_, worlds) in SHOWN.items() for w in worlds])
def test_translation_is_as_it_was_read(folder: str, world: str, golden: Golden) -> None:
    golden(f"{folder}/{world}", messages(translate(*WORLDS[world]), SHOWN[folder][0]))


@pytest.mark.envoy
@pytest.mark.parametrize("world", WORLDS)
async def test_envoy_accepts_every_world(world: str, tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_text(to_json(_static(translate(*WORLDS[world]))))
    await validate(find_envoy(), path)


def _static(snapshot: Snapshot) -> Bootstrap:
    """A bootstrap that has everything in it that the snapshot would send."""
    whole = bootstrap(snapshot.spec, UnixAgent(Path("/run/ads.sock")), Path("/run"))
    for kind, resources in snapshot.resources().items():
        for resource in resources.values():
            one = message(kind, resource)
            if isinstance(one, Cluster):
                whole.static_resources.clusters.append(one)
            elif isinstance(one, ClusterLoadAssignment):
                fixed = Cluster(name=f"static|{resource.name}", load_assignment=one)
                fixed.connect_timeout.FromSeconds(1)
                whole.static_resources.clusters.append(fixed)
            elif isinstance(one, Secret):
                whole.static_resources.secrets.append(one)
            elif isinstance(one, Listener):
                whole.static_resources.listeners.append(one)
            elif isinstance(one, RouteConfiguration):
                manager = HttpConnectionManager(stat_prefix="routes", route_config=one)
                manager.http_filters.add(name="envoy.filters.http.router").typed_config.CopyFrom(
                    packed(Router())
                )
                chain = FilterChain(filters=[Filter(name="hcm", typed_config=packed(manager))])
                whole.static_resources.listeners.append(
                    Listener(name="routes", address=socket_address("127.0.0.1", 1), filter_chains=[chain])
                )
    return whole


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_is_named_that_does_not_exist(world: str) -> None:
    translate(*WORLDS[world]).check()


def test_a_snapshot_that_names_what_does_not_exist_says_what_is_missing() -> None:
    whole = translate(*WORLDS["abroad"])
    gone = (CLUSTER, names.gateway_cluster(CLOUD))
    members = whole.shared["members"]
    kept = tuple((kind, r) for kind, r in members.resources if (kind, r.name) != gone)
    broken = replace(whole, shared={**whole.shared, "members": replace(members, resources=kept)})
    with pytest.raises(DanglingReference, match=r"'vip\|.*' names 'gw\|cloud' \(CDS\)"):
        broken.check()


def test_the_same_view_translates_to_the_same_bytes() -> None:
    for world in WORLDS.values():
        assert translate(*world).resources() == translate(*world).resources()


def test_who_is_revoked_changes_the_table_of_routes_and_no_listener() -> None:
    before, spec = WORLDS["served"]
    away = replace(before.members[CLOUD], revoked=("shop/batch",))
    known = translate(before, spec)
    for after in (
        replace(before, members={**before.members, CLOUD: away}),
        replace(before, offer=replace(before.offer, revoked=("shop/web",))),
    ):
        snapshot, changed = advance(after, spec, known)
        assert {kind: set(some) for kind, some in changed.items() if some} == {ROUTE: {names.INGRESS}}
        assert snapshot.resources() == translate(after, spec).resources()


def test_a_service_that_did_not_change_keeps_its_part() -> None:
    before = translate(view(imported("cart", CLOUD), imported("shop", CLOUD, index=2), members=MEMBERS), BOTH)
    cart = imported("cart", CLOUD, ONPREM)
    after = translate(view(cart, imported("shop", CLOUD, index=2), members=MEMBERS), BOTH, before)
    assert after.services[ServiceName("shop", "shop")] is before.services[ServiceName("shop", "shop")]
    assert all(after.shared[name] is part for name, part in before.shared.items() if name != "ways")
    assert {k: set(c) for k, c in after.changes_since(before).items()} == {
        CLUSTER: {
            f"{kind}|{clusters}"
            for kind in ("gw", "try", "any")
            for clusters in ("onprem,cloud", "cloud,onprem")
        },
        ENDPOINT: {"vip|241.0.0.1:8080", "vip|[fd5f:ed:6a7e::1]:8080"},
    }
    cart = replace(cart, conflict="whose ports?")
    again = translate(view(cart, imported("shop", CLOUD, index=2), members=MEMBERS), BOTH, after)
    assert all(again.shared[name] is part for name, part in after.shared.items())


def test_a_gateway_that_moves_changes_the_order_for_everybody() -> None:
    cart = imported("cart", CLOUD, EDGE)
    members = (HOME, AWAY, replace(AWAY, name=EDGE))
    before = translate(view(cart, members=members), BOTH)
    moved = tuple(
        replace(m, gateways=tuple(replace(g, locality=Locality("eu")) for g in m.gateways))
        for m in members
        if m.name != CLOUD
    )
    after = translate(view(cart, members=(members[1], *moved)), BOTH, before)
    assert after.resources() == translate(view(cart, members=(members[1], *moved)), BOTH).resources()
    assert "gw|edge,cloud" in after.resources()[CLUSTER]


def test_nothing_is_made_of_other_clusters_that_does_not_speak_the_protocol_of_tunnels() -> None:
    """Envoy crashes when a tunnel ends in such a cluster: the trap."""
    for world in WORLDS.values():
        for cluster in messages(translate(*world), CLUSTER):
            assert isinstance(cluster, Cluster)
            if cluster.HasField("cluster_type"):
                (options,) = cluster.typed_extension_protocol_options.values()
                protocol = HttpProtocolOptions()
                assert options.Unpack(protocol)
                assert protocol.explicit_http_config.http2_protocol_options.allow_connect


def test_the_shortest_ways_are_straight_and_the_longest_have_an_end() -> None:
    clusters = [ClusterName(name) for name in "abcde"]
    members = (HOME, *(replace(AWAY, name=name) for name in clusters))
    made = translate(view(imported("cart", *clusters), members=members), BOTH)
    assert {name for name in made.resources()[CLUSTER] if name.startswith("try|")} == {
        "try|a,b,c",
        "try|b,a,c",
        "try|c,a,b",
        "try|d,a,b",
        "try|e,a,b",
    }
    alone = translate(view(imported("cart", CLOUD), members=MEMBERS), BOTH)
    assert not [name for name in alone.resources()[CLUSTER] if name.startswith(("try|", "any|"))]


def test_a_member_that_is_shut_out_is_asked_for_no_service_any_more() -> None:
    cart = imported("cart", CLOUD)
    before = translate(view(cart, members=MEMBERS), BOTH)
    after = translate(view(cart, members=MEMBERS[:1]), BOTH, before)
    assert after.resources() == translate(view(cart, members=MEMBERS[:1]), BOTH).resources()
    after.check()


def test_an_address_that_goes_to_another_service_is_changed_and_not_removed() -> None:
    before = translate(view(imported("cart", CLOUD), members=MEMBERS), BOTH)
    after = translate(view(imported("shop", CLOUD), members=MEMBERS), BOTH, before)
    (changes,) = after.changes_since(before).values()
    assert set(changes) == {"vip|241.0.0.1:8080", "vip|[fd5f:ed:6a7e::1]:8080"}
    assert None not in changes.values()


def test_an_address_that_passes_to_another_workload_makes_new_connections_to_all_gateways() -> None:
    before = translate(view(imported("cart", CLOUD), members=MEMBERS), BOTH)
    after, changes = advance(replace(before.view, handed_on=PASSED), BOTH, before)
    dialled = {names.gateway_cluster(name) for name in before.view.members}
    assert {kind: set(named) for kind, named in changes.items()} == {CLUSTER: dialled}
    assert advance(after.view, BOTH, after)[1] == {}


def test_an_endpoint_that_comes_or_goes_changes_endpoints_alone() -> None:
    before = translate(view(services=(local_service("cart", "10.0.0.1"),), members=MEMBERS), BOTH)
    after = translate(view(services=(local_service("cart", "10.0.0.2"),), members=MEMBERS), BOTH, before)
    assert {k: set(c) for k, c in after.changes_since(before).items()} == {ENDPOINT: {"local|shop/cart:8080"}}


def test_who_may_call_a_service_changes_the_table_of_routes_alone() -> None:
    before = translate(view(services=(local_service("cart", "10.0.0.1"),), members=MEMBERS), BOTH)
    cart = ServiceName("shop", "cart")
    after, changes = advance(replace(before.view, callers={cart: (CLOUD,)}), BOTH, before)
    assert {kind: set(named) for kind, named in changes.items()} == {ROUTE: {names.INGRESS}}
    assert dict(after.resources()) == dict(translate(after.view, BOTH).resources())
    shut, changes = advance(replace(after.view, callers={}, callers_unsaid=()), BOTH, after)
    assert {kind: set(named) for kind, named in changes.items()} == {ROUTE: {names.INGRESS}}
    assert dict(advance(replace(shut.view, callers={cart: None}), BOTH, shut)[0].resources()) == dict(
        before.resources()
    )


# --- translating step by step is translating the whole ----------------------------------------------


_SERVICES = ("cart", "catalog", "shop")


def _import(name: str, index: int, clusters: list[str], ready: int) -> Import:
    offerings = tuple(
        Offering(cluster, (HTTP,), ready) for cluster in (ONPREM, CLOUD, EDGE) if cluster in clusters
    )
    return replace(imported(name, index=index), offerings=offerings)


imports = st.builds(
    _import,
    st.sampled_from(_SERVICES),
    st.integers(1, 4),
    st.lists(st.sampled_from([ONPREM, CLOUD, EDGE])),
    st.integers(0, 1),
)
offered = st.builds(
    lambda name, addresses: local_service(name, *addresses),
    st.sampled_from(_SERVICES),
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"])),
)
workloads = st.builds(
    lambda name, addresses: workload(name, *addresses),
    st.sampled_from(_SERVICES),
    st.lists(st.sampled_from(["10.0.1.1", "10.0.1.2", "fd00:1::1"])),
)


def _view(
    some: list[Import],
    services: list[LocalService],
    callers: list[object],
    members: set[int],
    handed_on: datetime | None,
    called_by: dict[str, tuple[ClusterName, ...] | None],
    unsaid: tuple[ClusterName, ...] | None,
) -> ClusterView:
    by_index = {i.index: i for i in some}  # an index is one service's at a time
    by_name = {i.service: i for i in by_index.values()}
    made = view(
        *by_name.values(),
        services=tuple({s.service: s for s in services}.values()),
        workloads=tuple(callers),  # type: ignore[arg-type]
        members=tuple(MEMBERS[i] for i in sorted(members)),
    )
    granted = {ServiceName("shop", name): clusters for name, clusters in called_by.items()}
    return replace(made, handed_on=handed_on, callers=granted, callers_unsaid=unsaid)


views = st.builds(
    _view,
    st.lists(imports, max_size=4),
    st.lists(offered, max_size=3),
    st.lists(workloads, max_size=3),
    st.sets(st.integers(0, 1)),
    st.sampled_from([None, PASSED]),
    st.dictionaries(
        st.sampled_from(_SERVICES), st.sampled_from([None, (), (CLOUD,), (CLOUD, ONPREM)]), max_size=2
    ),
    st.sampled_from([None, ()]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(views, min_size=2, max_size=4))
def test_translating_change_by_change_is_translating_the_whole(steps: list[ClusterView]) -> None:
    snapshot = translate(steps[0], BOTH)
    held = _applied({}, snapshot.changes_since(Snapshot.empty(BOTH, steps[0])))
    for step in steps[1:]:
        newer, changes = advance(step, BOTH, snapshot)
        assert changes == newer.changes_since(snapshot)
        held = _applied(held, changes)
        snapshot = newer
        whole = translate(step, BOTH)
        assert snapshot.resources() == whole.resources()
        assert snapshot.taken == whole.taken
        assert held == {(k, n): r for k, table in whole.resources().items() for n, r in table.items()}
        snapshot.check()


def _applied(held: dict[tuple[str, str], Resource], changes: Changes) -> dict[tuple[str, str], Resource]:
    """What a gateway has that had *held* and is told *changes*."""
    newer: dict[tuple[str, str], Resource | None] = dict(held)
    newer |= {(kind, name): r for kind, table in changes.items() for name, r in table.items()}
    return {key: resource for key, resource in newer.items() if resource is not None}
