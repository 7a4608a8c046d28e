"""The file source's format: what a text offers, and everything that is wrong with it."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.attestation import UnixSelector
from clusters.errors import SourceError
from clusters.health import CheckKind, HealthCheck
from clusters.model import GatewayRecord, Locality, Offer, Workload
from clusters.names import ServiceName
from clusters.services import CallerPattern, LocalService, Port, Protocol, ServicePort, Traffic, TrafficPolicy
from clusters.sources.offer import parse_offer
from clusters.staleness import Policy, Staleness

EXAMPLE = """
services:
  - namespace: shop
    name: catalog
    ports: [{port: 8080, targetPort: 18080, name: http, protocol: TCP, appProtocol: kubernetes.io/h2c}]
    endpoints: [10.0.0.21, "FD00:0::21"]
    allow: ["spiffe://onprem.fed.example/ns/shop/sa/*"]
    passthrough: true
workloads:
  - namespace: shop
    name: frontend
    addresses: [10.0.0.11]
    unix: {uid: 1000, gid: 100, path: /usr/bin/shop}
gateways:
  - {name: gw-1, addresses: [192.0.2.10], port: 15009, locality: {region: eu, zone: a}}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SourceError) as refused:
        parse_offer(text, "offer.yaml")
    return list(refused.value.problems)


def problem(text: str) -> str:
    (only,) = problems(text)
    return only


def a_service(**fields: str) -> str:
    """One service in flow style, so that a test changes the field it is about."""
    written = {"namespace": "shop", "name": "catalog", "ports": "[80]"} | fields
    return "services: [{" + ", ".join(f"{key}: {value}" for key, value in written.items() if value) + "}]"


def test_a_whole_offer_is_read() -> None:
    catalog = LocalService(
        ServiceName("shop", "catalog"),
        (ServicePort(Port(8080, "http", Protocol.TCP, "kubernetes.io/h2c"), 18080),),
        ("10.0.0.21", "fd00::21"),
        (CallerPattern("spiffe://onprem.fed.example/ns/shop/sa/*"),),
        passthrough=True,
    )
    assert parse_offer(EXAMPLE, "offer.yaml") == Offer(
        {catalog.service: catalog},
        (Workload("shop", "frontend", ("10.0.0.11",), UnixSelector(1000, 100, "/usr/bin/shop")),),
        (GatewayRecord("gw-1", ("192.0.2.10",), 15009, Locality("eu", "a")),),
    )


def test_a_port_may_be_a_plain_number_and_the_rest_left_out() -> None:
    offer = parse_offer(a_service(ports="[80]"), "offer.yaml")
    (service,) = offer.services.values()
    assert service.ports == (ServicePort(Port(80), 80),)
    assert service.endpoints == ()
    assert service.allow == ()


def test_a_target_port_is_the_port_unless_it_says_otherwise() -> None:
    (service,) = parse_offer(a_service(ports="[{port: 80}]"), "offer.yaml").services.values()
    assert service.ports == (ServicePort(Port(80), 80),)


def test_a_check_is_on_the_target_of_the_first_tcp_port_unless_it_says_otherwise() -> None:
    ports = "[{port: 53, protocol: UDP, name: dns}, {port: 80, targetPort: 8080, name: http}]"
    (service,) = parse_offer(a_service(ports=ports, health="{type: http}"), "offer.yaml").services.values()
    assert service.health == HealthCheck(CheckKind.HTTP, 8080)


def test_what_becomes_of_calls_when_the_cluster_is_away_is_to_hold_unless_it_is_said() -> None:
    (plain,) = parse_offer(a_service(), "offer.yaml").services.values()
    assert plain.staleness == Staleness(Policy.HOLD, 3600)
    text = a_service(staleness="{policy: drain, after: 10m}")
    (said,) = parse_offer(text, "offer.yaml").services.values()
    assert said.staleness == Staleness(Policy.DRAIN, 600)


def test_traffic_goes_to_the_nearest_unless_it_is_to_be_shared_out() -> None:
    (plain,) = parse_offer(a_service(), "offer.yaml").services.values()
    assert plain.traffic == Traffic(TrafficPolicy.FAILOVER)
    text = a_service(traffic="{policy: Weighted, weight: 80}")
    (shared,) = parse_offer(text, "offer.yaml").services.values()
    assert shared.traffic == Traffic(TrafficPolicy.WEIGHTED, 80)


def test_all_of_a_check_can_be_said() -> None:
    said = "{type: grpc, service: shop.Catalog, port: 9, interval: 500ms, timeout: 250ms, "
    said += "unhealthyThreshold: 3, healthyThreshold: 2}"
    (service,) = parse_offer(a_service(health=said), "offer.yaml").services.values()
    assert service.health == HealthCheck(CheckKind.GRPC, 9, "/", "shop.Catalog", 0.5, 0.25, 3, 2)


def test_words_that_yaml_takes_for_something_else_are_names() -> None:
    offer = parse_offer(a_service(namespace="no", name="on"), "offer.yaml")
    assert set(offer.services) == {ServiceName("no", "on")}


def test_empty_lists_offer_nothing() -> None:
    assert parse_offer("services: []\nworkloads: []", "offer.yaml") == Offer()


@pytest.mark.parametrize("cut", ["", "# services\n", "services:\n", "services:\nworkloads: []"])
def test_a_file_that_is_cut_short_is_not_an_empty_offer(cut: str) -> None:
    assert "has no value" in problem(cut)


def test_a_gateway_may_be_known_by_name() -> None:
    (gateway,) = parse_offer("{gateways: [{name: g, addresses: [GW.Example.com., 10.0.0.1]}]}", "x").gateways
    assert gateway.addresses == ("gw.example.com", "10.0.0.1")
    assert gateway.has_names


def test_an_address_may_belong_to_two_workloads_as_the_gateways_refuse_it_then() -> None:
    claims = (f"{{namespace: shop, name: {name}, addresses: [10.0.0.1]}}" for name in ("cart", "pay"))
    text = f"workloads: [{', '.join(claims)}]"
    assert len(parse_offer(text, "offer.yaml").workloads) == 2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"namespace": "Shop"}, "1:24 services[0].namespace: 'Shop': want 1-63 of a-z"),
        ({"namespace": ""}, "services[0].namespace: missing"),
        ({"namespace": "[a]"}, "services[0].namespace: want a string"),
        ({"nmae": "x"}, "services[0].nmae: unknown field; did you mean name?"),
        (
            {"colour": "x"},
            "colour: unknown field; want namespace, name, ports, endpoints, allow, health, traffic",
        ),
        ({"ports": ""}, "services[0].ports: missing"),
        ({"ports": "[]"}, "services[0].ports: empty; want one port at least"),
        ({"ports": "80"}, "services[0].ports: want a list; write [] for none"),
        (
            {"ports": "['80']"},
            "services[0].ports[0]: '80': want a whole number, in digits and without quotes",
        ),
        ({"ports": "[0x50]"}, "services[0].ports[0]: '0x50': want a whole number"),
        ({"ports": "[65536]"}, "services[0].ports[0]: 65536: want 1-65535"),
        ({"ports": "[80, 443]"}, "services[0].ports: several ports want a name each"),
        ({"ports": "[{port: 80, name: a}, {port: 81, name: a}]"}, "no two the same"),
        ({"ports": "[{port: 80, name: a}, {port: 80, name: b}]"}, "services[0].ports[1]: given twice"),
        (
            {"ports": "[{port: 80, targetport: 1}]"},
            "ports[0].targetport: unknown field; did you mean targetPort?",
        ),
        ({"ports": "[{targetPort: 80}]"}, "services[0].ports[0].port: missing"),
        ({"ports": "[{port: 80, protocol: tcp}]"}, "ports[0].protocol: 'tcp': want TCP, UDP, SCTP"),
        ({"ports": "[{port: 80, appProtocol: a b}]"}, "ports[0].appProtocol: 'a b': want letters"),
        ({"endpoints": "[10.0.0.300]"}, "endpoints[0]: '10.0.0.300': not an IPv4 or IPv6 address"),
        ({"endpoints": "[10.0.0.0/24]"}, "endpoints[0]: '10.0.0.0/24': not an IPv4 or IPv6 address"),
        ({"endpoints": "[0.0.0.0]"}, "endpoints[0]: '0.0.0.0': not the address of a host"),
        ({"endpoints": "['ff02::1']"}, "endpoints[0]: 'ff02::1': not the address of a host"),
        ({"endpoints": "['fe80::1%eth0']"}, "endpoints[0]: 'fe80::1%eth0': has a zone"),
        ({"endpoints": "['::ffff:10.0.0.1']"}, "endpoints[0]: '::ffff:10.0.0.1': write 10.0.0.1"),
        ({"endpoints": "['fd00::1', 'fd00:0::1']"}, "endpoints[1]: given twice; the first is at 1:70"),
        ({"allow": "[http://x]"}, "services[0].allow[0]: 'http://x': want a SPIFFE ID"),
        ({"allow": "[]"}, "services[0].allow: empty; leave the field out to let every workload in"),
        ({"passthrough": "yes"}, "services[0].passthrough: 'yes': want true or false, without quotes"),
        ({"passthrough": "'true'"}, "services[0].passthrough: 'true': want true or false"),
        ({"passthrough": "null"}, "services[0].passthrough: has no value; want true or false"),
        ({"staleness": "{policy: shut}"}, "staleness.policy: 'shut': want hold, drain, fail-closed"),
        ({"staleness": "{after: 40d}"}, "staleness.after: '40d': want 1s to 30d"),
        ({"traffic": "{}"}, "services[0].traffic.policy: missing"),
        ({"traffic": "{policy: weighted}"}, "traffic.policy: 'weighted': want Failover, Weighted"),
        ({"traffic": "{policy: Weighted, weight: 1001}"}, "traffic.weight: 1001: want 0-1000"),
        ({"traffic": "{policy: Weighted, weight: -1}"}, "traffic.weight: -1: want 0-1000"),
        ({"traffic": "{policy: Failover, weight: 1}"}, "weight: makes sense with policy Weighted alone"),
        ({"health": "[]"}, "services[0].health: want a mapping with type, port, path, service"),
        ({"health": "{}"}, "services[0].health.type: missing"),
        ({"health": "{type: udp}"}, "services[0].health.type: 'udp': want tcp, http, grpc"),
        ({"health": "{type: tcp, prot: 1}"}, "health.prot: unknown field; did you mean port?"),
        ({"health": "{type: tcp, path: /}"}, "health.path: makes sense with type http alone"),
        ({"health": "{type: http, service: a}"}, "health.service: makes sense with type grpc alone"),
        ({"health": "{type: http, path: x}"}, "health.path: 'x': want '/'"),
        ({"health": "{type: tcp, port: 0}"}, "health.port: 0: want 1-65535"),
        ({"health": "{type: tcp, interval: 10ms}"}, "health.interval: '10ms': want 0.1s to 3600s"),
        ({"health": "{type: tcp, timeout: 2h}"}, "health.timeout: '2h': want 0.01s to 60s"),
        ({"health": "{type: tcp, timeout: soon}"}, "health.timeout: 'soon': want a number with a unit"),
        ({"health": "{type: tcp, healthyThreshold: 0}"}, "health.healthyThreshold: 0: want 1-100"),
        ({"ports": "[{port: 53, protocol: UDP}]", "health": "{type: tcp}"}, "health.port: missing"),
    ],
)
def test_a_wrong_field_of_a_service_is_told(fields: dict[str, str], told: str) -> None:
    assert told in problem(a_service(**fields))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("service: []", "1:1 service: unknown field; did you mean services?"),
        ("[]", "1:1: want a mapping with services, workloads, gateways"),
        ("services: [hello]", "1:12 services[0]: want a mapping with namespace"),
        ("workloads: [{namespace: shop, name: a_b}]", "1:37 workloads[0].name: 'a_b': want 1-63"),
        ("gateways: [{name: g}]", "1:12 gateways[0].addresses: missing"),
        (
            "gateways: [{name: g, addresses: []}]",
            "gateways[0].addresses: empty; other clusters could not dial",
        ),
        (
            "gateways: [{name: g, addresses: ['::1'], locality: eu}]",
            "locality: want a mapping with region, zone",
        ),
        ("gateways: [{name: g, addresses: [0.0.0.0]}]", "addresses[0]: '0.0.0.0': not the address of a host"),
        ("gateways: [{name: g, addresses: [10.0.0.300]}]", "not an IPv4 or IPv6 address, and no DNS name"),
        ("gateways: [{name: g, addresses: [gw_1]}]", "not an IPv4 or IPv6 address, and no DNS name"),
        ("gateways: [{name: g, addresses: ['::1'], port: -1}]", "gateways[0].port: -1: want 1-65535"),
        ("services: [{a: *b}]", "1:16: alias *b"),
    ],
)
def test_a_wrong_document_is_told(text: str, told: str) -> None:
    assert told in "\n".join(problems(text))


@pytest.mark.parametrize(
    ("section", "item"),
    [
        ("services", "{namespace: a, name: b, ports: [80]}"),
        ("workloads", "{namespace: a, name: b}"),
        ("gateways", "{name: a, addresses: [10.0.0.1]}"),
    ],
)
def test_the_same_thing_twice_is_told_at_the_second(section: str, item: str) -> None:
    text = f"{section}:\n- {item}\n- {item}\n"
    assert problem(text) == f"3:3 {section}[1]: given twice; the first is at 2:3"


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "services:\n- {namespace: A, name: b, ports: [x]}\n- 1\nworkloads:\n- {namespace: c}\nfoo: 1\n"
    assert [line.split(" ")[0] for line in problems(text)] == ["2:15", "2:35", "3:3", "5:3", "6:1"]


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    told = problems("workloads:\n" + "- 1\n" * 1000)
    assert len(told) == 51
    assert told[-1] == "and 950 more"


def test_the_error_names_the_file_and_what_becomes_of_it() -> None:
    with pytest.raises(SourceError, match=r"offer\.yaml: 1:12 services\[0\]") as refused:
        parse_offer("services: [1]", "offer.yaml")
    assert "last good version" in refused.value.hint


@given(st.data())
def test_a_damaged_file_is_refused_and_never_crashes_the_reader(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(EXAMPLE)))
    until = data.draw(st.integers(at, min(len(EXAMPLE), at + 8)))
    damaged = EXAMPLE[:at] + data.draw(st.text(alphabet="a:-[]{}&*'\"\n 0", max_size=4)) + EXAMPLE[until:]
    with suppress(SourceError):
        parse_offer(damaged, "offer.yaml")


def test_the_example_of_the_manual_is_an_offer() -> None:
    manual = Path(__file__).parents[3] / "docs" / "file-source.md"
    example = manual.read_text().split("```yaml\n")[1].split("```")[0]
    offer = parse_offer(example, str(manual))
    assert (len(offer.services), len(offer.workloads), len(offer.gateways)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("unix", "where", "reason"),
    [
        ("{}", "uid", "missing"),
        ("{gid: 1000}", "uid", "missing"),
        ("{uid: root}", "uid", "'root': want a whole number"),
        ("{uid: 4294967295}", "uid", "want 0-4294967294"),
        ("{uid: 1, gid: -1}", "gid", "want 0-4294967294"),
        ("{uid: 1, path: usr/bin/shop}", "path", "want its absolute path"),
        ("{uid: 1, path: /usr/../shop}", "path", "want its absolute path"),
        ("{uid: 1, user: shop}", "user", "unknown field"),
        ("[1000]", "", "want a mapping with uid, gid, path"),
        ("", "", "has no value"),
    ],
)
def test_a_selector_that_means_nothing_is_an_error(unix: str, where: str, reason: str) -> None:
    told = problem(f"workloads: [{{namespace: shop, name: web, unix: {unix}}}]")
    assert f"workloads[0].unix{'.' if where else ''}{where}: " in told
    assert reason in told
