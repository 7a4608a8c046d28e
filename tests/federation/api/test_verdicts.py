"""What an agent shows of what the hub does not take or pass on."""

from dataclasses import replace

from clusters.verdict import Published, Verdict
from federation.api.answers import services_document
from federation.api.verdicts import add_refused, refusals, verdict_checks
from federation.sync.records import EXPORT, GATEWAY
from tests.builders import CLOUD, ONPREM, imported, local_service, view

CART, DB = local_service("cart", "10.0.0.1"), local_service("db", "10.0.0.1")
VERDICTS = (
    Verdict(Published.SERVICE, "shop/db", "no grant lets onprem export shop/db", ()),
    Verdict(Published.SERVICE, "shop/cart", callers=(CLOUD,)),
    Verdict(Published.GATEWAY, "gw-1", "127.0.0.1 is loopback"),
)


def test_a_service_that_is_refused_is_listed_with_why() -> None:
    seen = view(imported("cart", ONPREM), services=(CART, DB))
    known = services_document(seen.imports.values(), seen.vips)
    listed = add_refused(known, seen, refusals(VERDICTS, {}))["services"]
    assert isinstance(listed, list)
    told = {each["name"]: each.get("refused") for each in listed}
    assert told == {"cart": None, "db": "no grant lets onprem export shop/db"}


def test_what_the_hub_has_not_taken_is_told_beside_what_it_does_not_pass_on() -> None:
    rejected = {EXPORT: {"shop/cart": "more than 3 services"}, GATEWAY: {"gw-2": "unreadable"}}
    refused = refusals(VERDICTS, rejected)
    assert refused[Published.SERVICE, "shop/cart"] == "more than 3 services"
    assert refused[Published.GATEWAY, "gw-2"] == "unreadable"
    seen = view(imported("cart", ONPREM), services=(CART,))
    listed = add_refused(services_document(seen.imports.values(), seen.vips), seen, refused)["services"]
    assert isinstance(listed, list)
    assert [each["refused"] for each in listed] == ["more than 3 services"]


def test_check_warns_of_refusals_and_of_conflicts_of_what_is_ours() -> None:
    theirs = replace(imported("db", CLOUD), conflict="cloud disagrees")
    ours = replace(imported("cart", CLOUD, ONPREM), conflict="they disagree")
    checks = list(verdict_checks(view(ours, theirs, services=(CART,)), refusals(VERDICTS, {})))
    assert [check.detail for check in checks] == [
        "services refused: shop/db: no grant lets onprem export shop/db",
        "gateways refused: gw-1: 127.0.0.1 is loopback",
        "shop/cart: they disagree",
    ]
    assert {check.status for check in checks} == {"warn"}
