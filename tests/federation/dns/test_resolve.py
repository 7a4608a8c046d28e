"""What people are told of a name: the answer that DNS gives, and the reasons."""

from dataclasses import replace

import pytest

from clusters.errors import InvalidValue
from clusters.model import VipRange
from federation.dns.message import Answer, wire_name
from federation.dns.presentation import answers, text_name
from federation.dns.resolve import Resolution, resolve
from tests.builders import CLOUD, ONPREM, imported, view

WORLD = view(imported("catalog", CLOUD, ONPREM, index=5), imported("cart", CLOUD, index=6))
CATALOG = "catalog.shop.svc.clusterset.local"


def data(resolution: Resolution) -> list[tuple[str, str]]:
    return [(answer.type, answer.data) for answer in resolution.answers]


def test_a_service_is_explained_by_its_exporters_and_its_place() -> None:
    found = resolve(WORLD, f"{CATALOG}.")
    assert (found.rcode, found.asked_in, found.source) == ("NOERROR", ONPREM, "the clusterset")
    assert data(found) == [("A", "241.0.0.5"), ("AAAA", "fd5f:ed:6a7e::5")]
    assert found.why == (
        "shop/catalog is exported by cloud (1 ready), onprem (1 ready)",
        "241.0.0.5 is its address in 241.0.0.0/16, at place 5",
        "fd5f:ed:6a7e::5 is its address in fd5f:ed:6a7e::/112, at place 5",
    )


def test_the_document_has_the_form_of_the_admin_api() -> None:
    assert resolve(WORLD, CATALOG, "a").document() == {
        "name": CATALOG,
        "from": "onprem",
        "rcode": "NOERROR",
        "answers": [{"name": CATALOG, "type": "A", "ttl": 5, "data": "241.0.0.5"}],
        "source": "the clusterset",
        "why": list(resolve(WORLD, CATALOG).why),
    }


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        (f"_http._tcp.{CATALOG}", None, ("SRV", f"0 100 8080 {CATALOG}.")),
        ("5.0.0.241.in-addr.arpa", None, ("PTR", f"{CATALOG}.")),
        ("dns-version.clusterset.local", None, ("TXT", '"1.0.0"')),
        (
            "clusterset.local",
            "SOA",
            ("SOA", "ns.dns.clusterset.local. hostmaster.clusterset.local. 1 7200 1800 86400 5"),
        ),
        ("0.241.in-addr.arpa", "NS", ("NS", "ns.dns.clusterset.local.")),
        (CATALOG.upper(), "ANY", ("A", "241.0.0.5")),
    ],
)
def test_a_name_is_asked_for_what_it_is_likely_to_have(
    name: str, kind: str | None, answer: tuple[str, str]
) -> None:
    assert data(resolve(WORLD, name, kind)) == [answer]


@pytest.mark.parametrize(
    ("name", "rcode", "why"),
    [
        (
            "catalogue.shop.svc.clusterset.local",
            "NXDOMAIN",
            ("no cluster exports shop/catalogue", f"did you mean {CATALOG}?"),
        ),
        (
            f"x.{CATALOG}",
            "NXDOMAIN",
            ("shop/catalog is there, but below it are only _PORT._PROTOCOL for its named ports",),
        ),
        (
            "catalog.clusterset.local",
            "NXDOMAIN",
            ("services are called SERVICE.NAMESPACE.svc.clusterset.local",),
        ),
        (
            "shop.svc.clusterset.local",
            "NOERROR",
            ("the name exists and has no record of the type that was asked for",),
        ),
    ],
)
def test_an_empty_answer_is_explained(name: str, rcode: str, why: tuple[str, ...]) -> None:
    found = resolve(WORLD, name)
    assert (found.rcode, found.answers, found.why) == (rcode, (), why)


def test_a_conflict_and_a_range_too_short_are_told() -> None:
    catalog = replace(imported("catalog", CLOUD, index=500), conflict="port 8080 is http and grpc")
    short = replace(view(catalog), vip_ranges=(VipRange("241.0.0.0/28"),))
    assert resolve(short, CATALOG).why == (
        "shop/catalog is exported by cloud (1 ready)",
        "241.0.0.0/28 is too short for place 500, so it has no address there",
        "its exporters disagree: port 8080 is http and grpc",
        "the name exists and has no record of the type that was asked for",
    )


def test_a_foreign_name_is_refused_or_forwarded() -> None:
    assert resolve(WORLD, "example.com").rcode == "REFUSED"
    forwarded = resolve(WORLD, "example.com", upstreams=["192.0.2.53:53"])
    assert (forwarded.rcode, forwarded.source, forwarded.answers) == ("FORWARDED", "192.0.2.53:53", ())


@pytest.mark.parametrize(("name", "kind"), [("a..b", None), ("é", None), (CATALOG, "MX"), (CATALOG, "AXFR")])
def test_what_cannot_be_asked_is_refused_with_a_reason(name: str, kind: str | None) -> None:
    with pytest.raises(InvalidValue, match="want"):
        resolve(WORLD, name, kind)


def test_what_is_not_printable_is_escaped_as_in_a_zone_file() -> None:
    assert text_name(b"\3a.\x07\1b\0") == "a\\046\\007.b"
    assert text_name(wire_name(CATALOG)) == CATALOG


def test_an_answer_without_records_reads_as_none() -> None:
    assert list(answers(Answer.of(), CATALOG)) == []


def test_a_vip_of_nobody_is_explained() -> None:
    found = resolve(WORLD, "7.0.0.241.in-addr.arpa")
    assert (found.rcode, found.why) == (
        "NXDOMAIN",
        ("the address is in a VIP range, and no service has it",),
    )
