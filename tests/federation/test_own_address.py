"""What a listening address means to those who are told of it."""

from ipaddress import ip_address

import pytest

from federation.own_address import is_wildcard, joined, own_address, reached_at
from federation.settings import host_port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0::0", "0:0:0:0:0:0:0:0"])
def test_everywhere_is_known_in_any_spelling_and_told_as_one_address(host: str) -> None:
    assert is_wildcard(host)
    told, port = host_port(reached_at(joined(host, 7445)))
    assert not ip_address(told).is_unspecified
    assert (told, port) == (own_address(), 7445)


@pytest.mark.parametrize("listen", ["192.0.2.1:7445", "[fd00::1]:7445", "agent.example:7445"])
def test_any_other_address_is_told_as_it_is(listen: str) -> None:
    assert reached_at(listen) == listen
