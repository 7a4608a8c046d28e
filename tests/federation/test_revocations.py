"""Workloads that are nobody any more: what is kept of them, and whose addresses count."""

from pathlib import Path

import pytest

from clusters.model import Workload
from federation.errors import NotFound, NotOurWorkload, UnreadableRecord
from federation.revocations import FILE, Revocations
from pki.spiffe import SpiffeId, workload_id
from tests import builders

DOMAIN = "onprem.fed.example"
WEB, CART = workload_id(DOMAIN, "shop", "web"), workload_id(DOMAIN, "shop", "cart")


def revoked(state: Path, *ids: SpiffeId) -> Revocations:
    made = Revocations(state, DOMAIN)
    for each in ids:
        made.revoke(each)
    return made


def test_who_was_revoked_is_kept_until_it_is_undone(tmp_path: Path) -> None:
    revoked(tmp_path, WEB, CART).revoke(WEB)
    again = Revocations(tmp_path, DOMAIN)
    assert again.ids == {WEB, CART}
    again.undo(WEB)
    assert Revocations(tmp_path, DOMAIN).ids == {CART}
    with pytest.raises(NotFound, match="web"):
        again.undo(WEB)


def test_a_revoked_workload_is_given_no_certificate_and_others_are(tmp_path: Path) -> None:
    made = revoked(tmp_path, WEB)
    assert made.objection(str(WEB)) == f"{WEB} was revoked"
    assert made.objection(str(CART)) == ""


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    revoked(tmp_path, WEB)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://cloud.fed.example/ns/shop/sa/web",
        "spiffe://onprem.fed.example/agent",
        "spiffe://onprem.fed.example/gateway/egress/gw-1",
        "spiffe://onprem.fed.example/ns/shop/sa/web/more",
        "spiffe://onprem.fed.example",
    ],
)
def test_only_workloads_of_this_cluster_are_revoked_here(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotOurWorkload) as refused:
        revoked(tmp_path, SpiffeId.parse(text))
    assert f"spiffe://{DOMAIN}/ns/NAMESPACE/sa/NAME" in refused.value.hint
    assert not (tmp_path / FILE).exists()


def test_a_file_that_cannot_be_read_lets_nobody_in_again(tmp_path: Path) -> None:
    revoked(tmp_path, WEB)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UnreadableRecord):
        Revocations(tmp_path, DOMAIN)


WORKLOADS = (
    builders.workload("web", "10.0.0.1", "10.0.0.2"),
    builders.workload("cart", "10.0.0.2", "10.0.0.3"),
    Workload("other", "web", ("10.0.0.4",)),
)


def test_a_revoked_workload_is_none_and_its_addresses_are_nobodys(tmp_path: Path) -> None:
    revocations = revoked(tmp_path, WEB)
    assert revocations.admitted(WORKLOADS) == (builders.workload("cart", "10.0.0.3"), WORKLOADS[2])
    assert revocations.barred(WORKLOADS) == ("10.0.0.1", "10.0.0.2")


def test_without_revocations_everything_is_as_the_source_says(tmp_path: Path) -> None:
    revocations = revoked(tmp_path)
    assert (revocations.admitted(WORKLOADS), revocations.barred(WORKLOADS)) == (WORKLOADS, ())
    revocations.revoke(workload_id(DOMAIN, "shop", "yet-to-come"))
    assert (revocations.admitted(WORKLOADS), revocations.barred(WORKLOADS)) == (WORKLOADS, ())
