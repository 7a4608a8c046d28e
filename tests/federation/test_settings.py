"""Settings check themselves, and state has its place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.errors import InvalidValue
from federation import paths
from federation.settings import AgentSettings, HubSettings, host_port

STATE = Path("/nowhere")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("192.0.2.1:53", ("192.0.2.1", 53)),
        ("[fd00::1]:7443", ("fd00::1", 7443)),
        ("hub.example:0", ("hub.example", 0)),
        ("fd00::1", ("fd00::1", 99)),
        ("[fd00::1]", ("fd00::1", 99)),
        ("hub.example", ("hub.example", 99)),
    ],
)
def test_an_address_is_read_with_a_default_for_its_port(text: str, read: tuple[str, int]) -> None:
    assert host_port(text, 99) == read


@pytest.mark.parametrize(
    "text", ["", ":53", "hub:", "hub:70000", "hub:x", "a b:1", "http://hub:1", "[::1:53"]
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidValue, match="address"):
        host_port(text)


def test_an_address_without_a_port_needs_a_default() -> None:
    with pytest.raises(InvalidValue, match="want HOST:PORT"):
        host_port("hub.example")


def test_ranges_that_share_an_address_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"241\.0\.1\.0/24.*overlaps 241\.0\.0\.0/16"):
        HubSettings(STATE, vip_ranges=("241.0.0.0/16", "241.0.1.0/24"))


def test_the_admin_api_is_never_on_tcp_without_a_token() -> None:
    with pytest.raises(InvalidValue, match="token file"):
        HubSettings(STATE, admin_listen="0.0.0.0:7445")


def test_a_hub_that_cannot_listen_there_is_refused() -> None:
    with pytest.raises(InvalidValue):
        HubSettings(STATE, listen="nowhere")
    with pytest.raises(InvalidValue):
        HubSettings(STATE, sync_listen="nowhere")


def test_an_agent_that_cannot_answer_dns_there_is_refused() -> None:
    with pytest.raises(InvalidValue):
        AgentSettings(STATE, dns_listen=("127.0.0.1:domain",))
    with pytest.raises(InvalidValue):
        AgentSettings(STATE, dns_listen=("nowhere",))


def test_dns_is_answered_on_port_53_unless_told_otherwise() -> None:
    """An IPv6 address needs its brackets only in front of a port."""
    addresses = ("127.0.0.1", "::1", "[::1]", "[::1]:5353", "[fe80::1%lo]:53")
    assert AgentSettings(STATE, dns_listen=addresses).dns_listen == addresses


@pytest.mark.parametrize(
    "settings",
    [
        lambda text: HubSettings(STATE, listen=text),
        lambda text: HubSettings(STATE, sync_listen=text),
        lambda text: HubSettings(STATE, advertise=(text,)),
        lambda text: AgentSettings(STATE, ads_listen=text),
        lambda text: AgentSettings(STATE, enrol_listen=text),
    ],
)
def test_an_address_that_others_are_told_of_has_no_zone(
    settings: Callable[[str], HubSettings | AgentSettings],
) -> None:
    settings("[fe80::1]:7443")
    with pytest.raises(InvalidValue, match="has a zone"):
        settings("[fe80::1%eth0]:7443")


@pytest.mark.parametrize(
    ("environ", "uid", "home"),
    [
        ({"FEDGATE_HOME": "/srv/fg", "HOME": "/home/me"}, 0, "/srv/fg"),
        ({"HOME": "/root"}, 0, "/var/lib/fedgate"),
        ({"HOME": "/home/me"}, 1000, "/home/me/.local/state/fedgate"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": "/state"}, 1000, "/state/fedgate"),
    ],
)
def test_state_has_its_place(environ: dict[str, str], uid: int, home: str) -> None:
    assert paths.home(environ, uid) == Path(home)
