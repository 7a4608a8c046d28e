"""The packet filter's rules: as text, and as the kernel takes them in hosts of a lab."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.model import VipRange
from federation.demo.topology import Host, Lab
from gateway.errors import CaptureRefused
from gateway.netfilter import load
from gateway.rules import removal, ruleset
from tests.requirements import program

V4, V6 = VipRange("241.0.0.0/16"), VipRange("fd5f:ed:6a7e::/112")
# Send a datagram to a VIP; say whether somebody says no.
ASKER = """
import socket
with socket.socket(type=socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.connect(("241.0.0.1", 53))
    try:
        client.send(b"x")
        client.recv(1)
    except TimeoutError:
        print("silence")
    except OSError:
        print("refused")
"""
WITHDRAWN = "table inet fedgate-gw-1\ndelete table inet fedgate-gw-1\n"

# Say which tables there are while the rules are held, and which are left then.
HOLDER = """
import subprocess, sys
from clusters.model import VipRange
from gateway.netfilter import redirected
with redirected("gw-1", [VipRange(cidr) for cidr in sys.argv[1:]], 15001):
    print(subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout, flush=True)
print("left: " + subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout)
"""


def test_the_rules_are_one_transaction_in_place_of_what_there_was() -> None:
    assert ruleset("gw-1", [V4, V6], 15001) == (
        f"{WITHDRAWN}"
        "table inet fedgate-gw-1 {\n"
        "\tchain arriving {\n"
        "\t\ttype nat hook prerouting priority dstnat\n"
        "\t\tip daddr { 241.0.0.0/16 } meta l4proto tcp redirect to :15001\n"
        "\t\tip6 daddr { fd5f:ed:6a7e::/112 } meta l4proto tcp redirect to :15001\n"
        "\t}\n"
        "\tchain own {\n"
        "\t\ttype nat hook output priority -100\n"
        "\t\tip daddr { 241.0.0.0/16 } meta l4proto tcp redirect to :15001\n"
        "\t\tip6 daddr { fd5f:ed:6a7e::/112 } meta l4proto tcp redirect to :15001\n"
        "\t}\n"
        "\tchain passing {\n"
        "\t\ttype filter hook prerouting priority -99\n"
        "\t\tip daddr { 241.0.0.0/16 } reject\n"
        "\t\tip6 daddr { fd5f:ed:6a7e::/112 } reject\n"
        "\t}\n"
        "\tchain leaving {\n"
        "\t\ttype filter hook output priority filter\n"
        "\t\tip daddr { 241.0.0.0/16 } reject\n"
        "\t\tip6 daddr { fd5f:ed:6a7e::/112 } reject\n"
        "\t}\n"
        "}\n"
    )


def test_a_family_without_a_range_is_not_touched() -> None:
    assert "ip daddr" not in ruleset("gw-1", [V6], 15001)
    assert "ip6 daddr" not in ruleset("gw-1", [V4], 15001)


def test_ranges_that_meet_or_overlap_are_one() -> None:
    """The kernel refuses two elements of a set that overlap."""
    halves = [VipRange("241.0.0.0/17"), VipRange("241.0.128.0/17"), VipRange("241.0.7.0/24")]
    assert ruleset("gw-1", halves, 15001) == ruleset("gw-1", [V4], 15001)


def test_removal_takes_the_gateways_own_table_alone() -> None:
    assert removal("gw-1") == WITHDRAWN


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    program("nft")
    with Lab(tmp_path) as lab:
        yield lab.host("gateway")


def tables(host: Host) -> str:
    return host.run(["nft", "list", "tables"]).stdout


@pytest.mark.netns
def test_the_kernel_takes_the_rules_again_and_again_and_forgets_them(host: Host) -> None:
    for ranges in ([V4, V6], [V4], [V4, V6]):
        host.run(["nft", "-f", "-"], text=ruleset("gw-1", ranges, 15001))
        host.run(["nft", "-f", "-"], text=ruleset("gw-2", ranges, 15002))
    shown = host.run(["nft", "list", "table", "inet", "fedgate-gw-1"]).stdout
    assert shown.count("redirect to :15001") == 4
    for _ in range(2):
        host.run(["nft", "-f", "-"], text=removal("gw-1"))
        assert tables(host) == "table inet fedgate-gw-2\n"


@pytest.mark.netns
def test_rules_last_as_long_as_the_gateway_and_replace_those_of_one_that_was_killed(host: Host) -> None:
    host.run(["nft", "-f", "-"], text=ruleset("gw-1", [VipRange("10.9.0.0/16")], 15099))
    done = host.run([sys.executable, "-c", HOLDER, V4.cidr, V6.cidr])
    assert done.stdout.split() == ["table", "inet", "fedgate-gw-1", "left:"]


@pytest.mark.netns
def test_what_is_not_tcp_is_refused_and_does_not_wander_off(tmp_path: Path) -> None:
    """The host forwards, and its default route leads back to the caller: a datagram would circle."""
    program("nft")
    with Lab(tmp_path) as lab:
        gateway, app = lab.host("gateway"), lab.host("app")
        lab.connect("inside", {gateway: ["10.0.0.1/24"], app: ["10.0.0.11/24"]})
        app.route(V4.cidr, via="10.0.0.1")
        gateway.route("default", via="10.0.0.11")
        gateway.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        gateway.run(["nft", "-f", "-"], text=ruleset("gw-1", [V4], 15001))
        for caller in (app, gateway):
            assert caller.run([sys.executable, "-c", ASKER]).stdout.strip() == "refused"


# Load rules as a user who may not, and say how that ends.
UNPRIVILEGED = """
import os
from gateway.errors import CaptureRefused
from gateway.netfilter import load
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
try:
    load("table inet fedgate-nobody\\n")
except CaptureRefused as error:
    print(error, error.hint, sep="\\n")
"""


def test_who_may_not_load_rules_is_told_how_an_administrator_does_it() -> None:
    program("nft")
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True, timeout=60
    )
    said, hint = done.stdout.splitlines()
    assert said.startswith("cannot redirect calls to the gateway: ")
    assert "Operation not permitted" in said
    assert "`fedgate gateways rules` prints" in hint
    assert "--rules-in-place" in hint


def test_rules_that_make_no_sense_are_not_taken() -> None:
    program("nft")
    with pytest.raises(CaptureRefused, match=r"cannot redirect calls to the gateway: ."):
        load("no such thing\n")
