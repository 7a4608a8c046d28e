"""How long certificates are good, and what makes no sense."""

from datetime import timedelta

import pytest

from pki.errors import UnusableLifetime
from pki.lifetimes import Lifetimes, check_lifetime


def test_those_of_a_fresh_installation_make_sense() -> None:
    assert Lifetimes().hub_ca > 2 * Lifetimes().issuing_ca


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ({"issuing_ca": timedelta(seconds=1)}, "want 5 s to 3652 days"),
        ({"hub": timedelta(days=4000)}, "want 5 s to 3652 days"),
        ({"issuing_ca": timedelta(days=46)}, "must fit into half of that"),
    ],
)
def test_others_are_refused_with_the_reason(spans: dict[str, timedelta], reason: str) -> None:
    with pytest.raises(UnusableLifetime, match=reason):
        Lifetimes(**spans)


def test_an_svid_of_a_minute_is_fine() -> None:
    check_lifetime("SVID", timedelta(minutes=1))
