"""What each cluster is told: by grants, at once, and the same whether it is told of changes or asks anew."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from clusters.model import Export, GatewayRecord, Import
from clusters.names import ClusterName
from clusters.services import Port
from clusters.verdict import UNSAID, Published, Verdict
from federation.broadcast import Broadcast
from federation.registry import keyspace
from federation.registry.clusterset import Clusterset
from federation.registry.codec import encode
from federation.registry.grants import Default, Defaults, Grant, Grants
from federation.registry.outlook import imports_for, verdicts
from federation.registry.records import ClusterRecord, ExportRecord, ServiceRecord
from federation.sync import records
from gateway.delta import Request, Response
from gateway.history import digest_of
from gateway.stream import Stream
from tests.builders import CLOUD, HTTP, ONPREM
from tests.federation.registry.worlds import NOW, service

EDGE = ClusterName("edge")
EVERYBODY = (ONPREM, CLOUD, EDGE)
DENIED = Defaults(exports=Default.DENY)


class Hub:
    """All that is known, told on as it changes."""

    def __init__(self) -> None:
        self.known = Clusterset()
        self.broadcast = Broadcast(self.known)
        self._written: dict[str, bytes | None] = {}
        for name in EVERYBODY:
            self.put(keyspace.cluster(name), ClusterRecord(name, f"{name}.fed.example", (), NOW))

    def put(self, key: str, record: object | None) -> None:
        self._written[key] = encode(record) if record is not None else None
        self.broadcast.follow(self.known.apply(key, self._written[key]))

    def anew(self) -> Clusterset:
        """All that is known, as one knows it who reads it now."""
        made = Clusterset()
        for key, value in sorted(self._written.items(), reverse=True):
            made.apply(key, value)
        return made

    def export(self, cluster: ClusterName, name: str, port: Port = HTTP, day: int = 0) -> None:
        self.put(keyspace.service(service(name)), ServiceRecord(len(name), EVERYBODY))
        record = ExportRecord(Export(service(name), (port,), 1), NOW + timedelta(days=day))
        self.put(keyspace.export(cluster, service(name)), record)

    def grant(self, *grants: Grant, defaults: Defaults = DENIED) -> None:
        self.put(keyspace.GRANTS, Grants(defaults, grants=grants))

    def imports(self, home: ClusterName) -> Mapping[str, Import]:
        facing = self.broadcast.facing(home)
        told = {name: facing.get(records.IMPORT, name) for name in facing.names(records.IMPORT)}
        return {name: records.decode(Import, name, found.body) for name, found in told.items() if found}

    def verdicts(self, home: ClusterName) -> list[Verdict]:
        """What is said to *home*, but for that all may call a service."""
        facing = self.broadcast.facing(home)
        told = {name: facing.get(records.VERDICT, name) for name in sorted(facing.names(records.VERDICT))}
        made = [records.decode(Verdict, name, found.body) for name, found in told.items() if found]
        return [v for v in made if v.refused or (v.callers is not None and v.name != UNSAID)]


def test_without_grants_everybody_is_told_the_same_and_nobody_a_verdict() -> None:
    hub = Hub()
    hub.export(ONPREM, "cart")
    shared = hub.broadcast.catalogue.get(records.IMPORT, "shop/cart")
    assert all(hub.broadcast.facing(home).get(records.IMPORT, "shop/cart") is shared for home in EVERYBODY)
    assert all(hub.verdicts(home) == [] for home in EVERYBODY)


def test_what_is_not_granted_leaves_at_once_and_comes_back_though_nobody_sends_it_again() -> None:
    hub = Hub()
    hub.export(ONPREM, "cart")
    hub.grant()
    assert all(hub.imports(home) == {} for home in EVERYBODY)
    assert hub.verdicts(ONPREM) == [
        Verdict(Published.SERVICE, "shop/cart", "no grant lets onprem export shop/cart", ())
    ]
    hub.grant(Grant("shop", ("onprem",), exports=("shop/*",)))
    assert all(hub.imports(home).keys() == {"shop/cart"} for home in EVERYBODY)
    assert hub.verdicts(ONPREM) == []


def test_what_is_exported_to_some_is_imported_and_may_be_called_by_them_alone() -> None:
    hub = Hub()
    hub.grant(Grant("shop", ("onprem",), exports=("shop/*",), to=("cloud",)))
    hub.export(ONPREM, "cart")
    assert [home for home in EVERYBODY if hub.imports(home)] == [ONPREM, CLOUD]
    assert hub.verdicts(ONPREM) == [Verdict(Published.SERVICE, "shop/cart", callers=(CLOUD, ONPREM))]
    assert hub.verdicts(CLOUD) == hub.verdicts(EDGE) == []


def test_of_a_service_that_is_not_for_it_a_cluster_does_not_even_hear_the_name() -> None:
    hub = Hub()
    heard: list[Response] = []
    facing = hub.broadcast.facing(EDGE)
    stream = Stream(facing)

    def hears(kind: str, names: Set[str]) -> None:
        stream.changed(kind, names)
        told = stream.flush()
        while told:
            heard.extend(told)
            told = [more for r in told for more in stream.receive(Request(r.kind, nonce=r.nonce))]

    facing.listen(hears)
    for response in stream.receive(Request(records.IMPORT)):
        stream.receive(Request(response.kind, nonce=response.nonce))
    hub.export(ONPREM, "cart")
    hub.grant(Grant("shop", ("onprem",), exports=("shop/*",), to=("cloud",)))
    assert [response.removed for response in heard if response.removed] == [("shop/cart",)]
    heard.clear()
    hub.export(ONPREM, "secret")
    hub.export(ONPREM, "secret", replace(HTTP, name="other"))
    assert heard == []


def test_each_is_told_of_the_exporters_that_are_for_it() -> None:
    hub = Hub()
    hub.grant(
        Grant("mine", ("onprem",), exports=("shop/*",), to=("cloud",)),
        Grant("ours", ("cloud",), exports=("shop/*",)),
    )
    hub.export(ONPREM, "cart")
    hub.export(CLOUD, "cart")
    offered = {home: [o.cluster for o in hub.imports(home)["shop/cart"].offerings] for home in EVERYBODY}
    assert offered == {ONPREM: [CLOUD, ONPREM], CLOUD: [CLOUD, ONPREM], EDGE: [CLOUD]}


def test_a_conflict_is_told_to_all_exporters_also_to_those_who_do_not_hear_of_the_other() -> None:
    hub = Hub()
    hub.grant(
        Grant("mine", ("onprem",), exports=("shop/*",), to=("edge",)),
        Grant("ours", ("cloud",), exports=("shop/*",), to=("edge",)),
    )
    hub.export(ONPREM, "cart")
    hub.export(CLOUD, "cart", replace(HTTP, app_protocol="grpc"), day=1)
    for home in EVERYBODY:
        assert "onprem has http:8080/TCP (http), cloud has" in hub.imports(home)["shop/cart"].conflict
    assert [o.cluster for o in hub.imports(CLOUD)["shop/cart"].offerings] == [CLOUD]


def test_who_is_no_exporter_is_not_told_of_a_conflict_with_one_that_it_does_not_have() -> None:
    hub = Hub()
    hub.grant(
        Grant("mine", ("onprem",), exports=("shop/*",), to=("edge",)),
        Grant("own", ("cloud",), exports=("shop/*",), to=("cloud",)),
    )
    hub.export(ONPREM, "cart")
    hub.export(CLOUD, "cart", replace(HTTP, app_protocol="grpc"), day=1)
    assert hub.imports(EDGE)["shop/cart"].conflict == ""
    assert "exporters disagree" in hub.imports(ONPREM)["shop/cart"].conflict


def test_as_soon_as_something_is_denied_a_service_of_which_nothing_is_said_is_for_nobody() -> None:
    hub = Hub()
    hub.export(ONPREM, "cart")
    facing = hub.broadcast.facing(ONPREM)
    assert facing.names(records.VERDICT) == set()
    hub.grant(Grant("all", ("*",), exports=("*/*",)))
    assert facing.names(records.VERDICT) == {f"service/{UNSAID}", "service/shop/cart"}
    unsaid, cart = (facing.get(records.VERDICT, name) for name in sorted(facing.names(records.VERDICT)))
    assert unsaid == records.encode(Verdict(Published.SERVICE, UNSAID, callers=()))
    assert cart == records.encode(Verdict(Published.SERVICE, "shop/cart", callers=None))


def test_who_may_call_follows_who_is_a_member() -> None:
    hub = Hub()
    hub.grant(Grant("shop", ("onprem",), exports=("shop/*",), to=("cloud", "west")))
    hub.export(ONPREM, "cart")
    agent = Follower(hub, ONPREM)
    west = ClusterName("west")
    for name, there in ((west, True), (CLOUD, False)):
        hub.put(
            keyspace.cluster(name), ClusterRecord(name, f"{name}.fed.example", (), NOW) if there else None
        )
        agent.settle()
        assert agent.held[records.VERDICT] == versions(verdicts(hub.anew(), ONPREM))
    assert hub.verdicts(ONPREM) == [Verdict(Published.SERVICE, "shop/cart", callers=(ONPREM, west))]


def test_a_gateway_is_known_at_the_addresses_where_it_may_be_and_its_cluster_is_told_of_the_others() -> None:
    hub = Hub()
    hub.put(keyspace.gateway(ONPREM, "gw-1"), GatewayRecord("gw-1", ("192.0.2.1", "127.0.0.1")))
    hub.put(keyspace.gateway(ONPREM, "gw-2"), GatewayRecord("gw-2", ("169.254.169.254",)))
    member = hub.known.member(ONPREM)
    assert member
    assert [(g.name, g.addresses) for g in member.gateways] == [("gw-1", ("192.0.2.1",))]
    assert [(v.of, v.name) for v in hub.verdicts(ONPREM)] == [
        (Published.GATEWAY, "gw-1"),
        (Published.GATEWAY, "gw-2"),
    ]
    assert "127.0.0.1 is loopback" in hub.verdicts(ONPREM)[0].refused
    assert hub.verdicts(CLOUD) == []


def test_a_word_for_all_that_a_cluster_has_counts_for_services_and_while_all_are_for_everybody() -> None:
    hub = Hub()
    hub.export(ONPREM, "cart")
    facing, shared = hub.broadcast.facing(EDGE), hub.broadcast.catalogue
    had = digest_of(shared.versions(records.IMPORT))
    hub.export(ONPREM, "catalog")
    assert facing.since(records.IMPORT, had) == {"shop/catalog": None}
    assert facing.since(records.MEMBER, digest_of(shared.versions(records.MEMBER))) is None
    hub.grant(Grant("shop", ("onprem",), exports=("shop/*",), to=("cloud",)))
    assert facing.since(records.IMPORT, had) is None
    assert facing.since(records.IMPORT, digest_of(shared.versions(records.IMPORT))) is None


def test_whoever_says_that_it_holds_nonsense_is_told_that_there_is_none_of_it() -> None:
    facing = Hub().broadcast.facing(ONPREM)
    for kind in (records.IMPORT, records.VERDICT):
        for name in ("", "/", "service/", "service/a/b/c", "gateway/\0", "x/y", "service/shop/cart", "é"):
            assert facing.get(kind, name) is None


# --- told of changes, or asking anew: the same ------------------------------------------------

patterns = st.sampled_from(["onprem", "cloud", "e*", "*"])
services = st.sampled_from(["shop/cart", "shop/d*", "*/*"])
some_grants = st.builds(
    lambda defaults, made: Grants(
        Defaults(*defaults),
        grants=tuple(
            Grant(f"g-{n}", (of,), exports=(what,), to=(to,), imports=(imports,))
            for n, (of, what, to, imports) in enumerate(made)
        ),
    ),
    st.tuples(*[st.sampled_from(Default)] * 3),
    st.lists(st.tuples(patterns, services, patterns, services), max_size=3),
)


def grants_are(grants: Grants) -> Callable[[Hub], None]:
    return lambda hub: hub.put(keyspace.GRANTS, grants)


def exports_or_not(cluster: ClusterName, name: str, there: bool) -> Callable[[Hub], None]:
    if there:
        return lambda hub: hub.export(cluster, name)
    return lambda hub: hub.put(keyspace.export(cluster, service(name)), None)


def joins_or_leaves(name: ClusterName, there: bool) -> Callable[[Hub], None]:
    record = ClusterRecord(name, f"{name}.fed.example", (), NOW) if there else None
    return lambda hub: hub.put(keyspace.cluster(name), record)


def has_a_gateway_or_not(name: ClusterName, address: str) -> Callable[[Hub], None]:
    record = GatewayRecord("gw-1", (address,)) if address else None
    return lambda hub: hub.put(keyspace.gateway(name, "gw-1"), record)


anybody = st.sampled_from(EVERYBODY)
steps = st.one_of(
    st.builds(grants_are, some_grants),
    st.builds(exports_or_not, anybody, st.sampled_from(["cart", "db"]), st.booleans()),
    st.builds(joins_or_leaves, anybody, st.booleans()),
    st.builds(has_a_gateway_or_not, anybody, st.sampled_from(["192.0.2.1", "127.0.0.1", ""])),
)


class Follower:
    """An agent that hears what changes, and acknowledges it when it comes to that."""

    def __init__(self, hub: Hub, home: ClusterName) -> None:
        self.home = home
        self.held: dict[str, dict[str, str]] = {records.IMPORT: {}, records.VERDICT: {}, records.MEMBER: {}}
        self._unanswered: list[Response] = []
        facing = hub.broadcast.facing(home)
        self._stream = Stream(facing)
        facing.listen(self._stream.changed)
        for kind in self.held:
            self._take(self._stream.receive(Request(kind)))

    def hear(self) -> None:
        """Answer what was told, and take in what there is to be told then."""
        answered, self._unanswered = self._unanswered, []
        for response in answered:
            self._take(self._stream.receive(Request(response.kind, nonce=response.nonce)))
        self._take(self._stream.flush())

    def settle(self) -> None:
        """Take in all that there is to be told."""
        self.hear()
        while self._unanswered:
            self.hear()

    def _take(self, responses: Sequence[Response]) -> None:
        for response in responses:
            for name, version in response.versions.items():
                self.held[response.kind].pop(name, None)
                if version is not None:
                    self.held[response.kind][name] = version
        self._unanswered += responses


def versions(told: Iterable[records.Record]) -> dict[str, str]:
    return {made.name: made.version for made in map(records.encode, told)}


def check(followers: Sequence[Follower], anew: Clusterset) -> None:
    """When all is told to *followers*, they know what *anew* says."""
    for follower in followers:
        follower.settle()
        assert follower.held == {
            records.IMPORT: versions(imports_for(anew, follower.home)),
            records.VERDICT: versions(verdicts(anew, follower.home)),
            records.MEMBER: versions(anew.members()),
        }


@given(st.lists(st.tuples(steps, st.sets(anybody)), max_size=8))
def test_who_follows_changes_knows_what_one_does_who_asks_anew(
    made: list[tuple[Callable[[Hub], None], set[ClusterName]]],
) -> None:
    hub = Hub()
    prompt, slow = ([Follower(hub, home) for home in EVERYBODY] for _ in range(2))
    for step, hearing in made:
        step(hub)
        for follower in slow:
            if follower.home in hearing:
                follower.hear()
        check(prompt, hub.anew())
    check(slow, hub.anew())
