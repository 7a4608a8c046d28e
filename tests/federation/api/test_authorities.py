"""What the hub says of its own authorities."""

from datetime import timedelta

import pytest

from federation.api.authorities import hub_ca_check
from federation.hub_authority import HubAuthority
from tests.authorities import NOW, Authorities
from tests.builders import DOMAIN

PKI = Authorities()


@pytest.mark.parametrize(
    ("days", "here", "status", "hint"),
    [
        (10, True, "ok", ""),
        (10, False, "ok", ""),
        (60, True, "ok", ""),  # it is renewed by itself
        (60, False, "warn", "fedgate ca csr"),
        (89, True, "warn", "the hub's log says why not"),
    ],
)
def test_who_has_to_have_the_hub_ca_renewed_is_told_half_way(
    days: int, here: bool, status: str, hint: str
) -> None:
    authority = HubAuthority(DOMAIN, PKI.root.certificate, PKI.hub_ca, has_root_key=here)
    check = hub_ca_check(authority, NOW + timedelta(days=days))
    assert (check.name, check.status) == ("hub CA", status)
    assert hint in check.hint
