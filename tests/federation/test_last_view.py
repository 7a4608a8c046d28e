"""What an agent remembers over a restart."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusters.model import Offer
from federation import last_view
from federation.errors import UnreadableRecord
from federation.last_view import LastView, Owners, Received
from tests import builders
from tests.builders import CLOUD, ONPREM

CART = builders.local_service("cart", "10.0.0.1")
LAST = LastView(
    Received(
        builders.federation(),
        {CLOUD: builders.member(CLOUD, "192.0.2.9")},
        {CART.service: builders.imported("cart", CLOUD, ONPREM)},
    ),
    Offer({CART.service: CART}, (builders.workload("web", "10.0.0.7"),)),
    Owners({"10.0.0.7": ("shop", "web"), "10.0.0.8": ("shop", "gone")}, datetime(2026, 1, 1, tzinfo=UTC)),
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    last_view.save(tmp_path, LAST)
    assert last_view.load(tmp_path) == LAST


@pytest.mark.parametrize("judged", [True, False])
def test_whether_the_hub_has_said_who_may_call_is_remembered(tmp_path: Path, judged: bool) -> None:
    last_view.save(tmp_path, replace(LAST, received=replace(LAST.received, judged=judged)))
    last = last_view.load(tmp_path)
    assert last
    assert last.received.judged is judged


def test_a_view_of_a_release_before_verdicts_is_gone_on_with_as_it_was() -> None:
    before = last_view.encode(LAST).replace(b'"judged":false,', b"")
    assert b"judged" not in before
    assert last_view.decode(before, "view.json").received.judged


def test_there_is_nothing_at_the_first_start_nor_after_forgetting(tmp_path: Path) -> None:
    assert last_view.load(tmp_path) is None
    last_view.save(tmp_path, LAST)
    last_view.forget(tmp_path)
    assert last_view.load(tmp_path) is None


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_damaged_file_is_named_with_what_to_do(cut: int) -> None:
    with pytest.raises(UnreadableRecord, match=r"view\.json") as refused:
        last_view.decode(last_view.encode(LAST)[:cut], "view.json")
    assert "move the file away" in refused.value.hint


@pytest.mark.parametrize("domain", ["", "0.0.0.0", "Fed.example"])
def test_a_federation_that_cannot_be_is_refused(domain: str) -> None:
    spoilt = last_view.encode(LAST).replace(b'"fed.example"', f'"{domain}"'.encode())
    with pytest.raises(UnreadableRecord, match="federation"):
        last_view.decode(spoilt, "view.json")


@pytest.mark.parametrize("domain", ["é", "cloud", "cloud.é", "a/b.fed.example"])
def test_a_member_whose_trust_domain_cannot_be_is_refused(domain: str) -> None:
    spoilt = last_view.encode(LAST).replace(b'"cloud.fed.example"', f'"{domain}"'.encode())
    with pytest.raises(UnreadableRecord, match="trust domain"):
        last_view.decode(spoilt, "view.json")


def test_a_file_of_a_newer_schema_is_refused() -> None:
    newer = last_view.encode(LAST).replace(b'"schema":1', b'"schema":2')
    with pytest.raises(UnreadableRecord, match="schema 2"):
        last_view.decode(newer, "view.json")


def test_many_services_are_saved_in_pieces_as_they_are_in_one(tmp_path: Path) -> None:
    services = [builders.local_service(f"s-{n}", "10.0.0.1") for n in range(450)]
    imports = [builders.imported(f"s-{n}", CLOUD, index=n + 1) for n in range(401)]
    many = LastView(
        replace(LAST.received, imports={i.service: i for i in imports}),
        replace(LAST.offer, services={s.service: s for s in services}),
    )
    last_view.write(tmp_path, last_view.encode(many, pause=1e-6))
    assert last_view.load(tmp_path) == many
