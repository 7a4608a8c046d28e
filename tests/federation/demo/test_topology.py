"""The lab's hosts: what they can reach, what is their own, and that nothing is left of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from federation.demo.topology import Host, Lab
from federation.errors import LabError, NamespacesUnavailable

pytestmark = pytest.mark.netns

SERVE = """
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
while True:
    connection, peer = server.accept()
    connection.sendall(f"{peer[0]} called {connection.getsockname()[0]}".encode())
    connection.close()
"""
DIAL = """
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).recv(200).decode(), end="")
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as lab:
        yield lab


def serve(host: Host, log: Path, port: int = 80) -> None:
    process = host.start([sys.executable, "-c", SERVE, str(port)], log=log)
    eventually(lambda: "listening" in process.tail())


def dial(host: Host, address: str, port: int = 80) -> str:
    """What the server at *address* says, or how the attempt failed."""
    done = host.run([sys.executable, "-c", DIAL, address, str(port)], check=False)
    return done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1]


def eventually(true: Callable[[], bool], within: float = 10.0) -> None:
    """Wait for *true* to be so."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.005)


def test_hosts_of_a_network_see_each_others_real_addresses(lab: Lab, tmp_path: Path) -> None:
    one, two = lab.host("one"), lab.host("two")
    lab.connect("net", {one: ["10.0.0.1/24", "fd00::1/64"], two: ["10.0.0.2/24", "fd00::2/64"]})
    serve(one, tmp_path / "log")
    assert dial(two, "10.0.0.1") == "::ffff:10.0.0.2 called ::ffff:10.0.0.1"
    if lab.ipv6:
        assert dial(two, "fd00::1") == "fd00::2 called fd00::1"


def test_a_captured_range_is_the_hosts_own_for_those_who_have_a_route(lab: Lab, tmp_path: Path) -> None:
    gateway, app, stranger = lab.host("gateway"), lab.host("app"), lab.host("stranger")
    lab.connect(
        "net",
        {
            gateway: ["10.0.0.1/24", "fd00::1/64"],
            app: ["10.0.0.2/24", "fd00::2/64"],
            stranger: ["10.0.0.3/24"],
        },
    )
    gateway.capture("241.0.0.0/16")
    gateway.capture("fd5f:ed:6a7e::/112")
    app.route("241.0.0.0/16", via="10.0.0.1")
    app.route("fd5f:ed:6a7e::/112", via="fd00::1")
    serve(gateway, tmp_path / "log")
    assert dial(app, "241.0.7.9") == "::ffff:10.0.0.2 called ::ffff:241.0.7.9"
    if lab.ipv6:
        assert dial(app, "fd5f:ed:6a7e::7") == "fd00::2 called fd5f:ed:6a7e::7"
    assert "unreachable" in dial(stranger, "241.0.7.9")


def test_networks_may_use_the_same_addresses_and_do_not_leak_into_each_other(
    lab: Lab, tmp_path: Path
) -> None:
    west, east = lab.host("west"), lab.host("east")
    west_app, east_app = lab.host("west-app"), lab.host("east-app")
    for name, gateway, app in (("west", west, west_app), ("east", east, east_app)):
        lab.connect(name, {gateway: ["10.0.0.1/24"], app: ["10.0.0.11/24"]})
    lab.connect("underlay", {west: ["192.0.2.1/24"], east: ["192.0.2.2/24"]})
    serve(west, tmp_path / "west.log")
    west_app.route("192.0.2.0/24", via="10.0.0.1")
    assert dial(east, "192.0.2.1") == "::ffff:192.0.2.2 called ::ffff:192.0.2.1"
    assert dial(west_app, "10.0.0.1") == "::ffff:10.0.0.11 called ::ffff:10.0.0.1"
    assert "refused" in dial(east_app, "10.0.0.1").lower()
    # A host forwards nothing: the app reaches its own gateway's other side, and not the far one.
    assert "called" in dial(west_app, "192.0.2.1")
    assert "called" not in dial(west_app, "192.0.2.2")


def test_what_a_host_sends_to_another_can_be_lost_and_found_again(lab: Lab, tmp_path: Path) -> None:
    one, two, three = lab.host("one"), lab.host("two"), lab.host("three")
    lab.connect("net", {one: ["10.0.0.1/24"], two: ["10.0.0.2/24"], three: ["10.0.0.3/24"]})
    serve(one, tmp_path / "log")
    one.lose("net", "10.0.0.2")
    assert dial(two, "10.0.0.1") == "TimeoutError: timed out"
    assert dial(three, "10.0.0.1") == "::ffff:10.0.0.3 called ::ffff:10.0.0.1"
    one.find("net", "10.0.0.2")
    assert dial(two, "10.0.0.1") == "::ffff:10.0.0.2 called ::ffff:10.0.0.1"


def test_each_host_asks_its_own_name_servers(lab: Lab) -> None:
    one, two = lab.host("one"), lab.host("two")
    one.name_servers("10.0.0.1", "fd00::1")
    two.name_servers("10.9.9.9")
    assert "nameserver 10.0.0.1\nnameserver fd00::1\n" in one.run(["cat", "/etc/resolv.conf"]).stdout
    assert "nameserver 10.9.9.9\n" in two.run(["cat", "/etc/resolv.conf"]).stdout
    assert "10.9.9.9" not in Path("/etc/resolv.conf").read_text()


def test_stopping_a_process_reaches_the_program_and_lets_it_finish(lab: Lab, tmp_path: Path) -> None:
    polite = "trap 'echo good bye; exit 7' TERM; echo up; while :; do sleep 0.01; done"
    process = lab.host("one").start(["sh", "-c", polite], log=tmp_path / "log")
    eventually(lambda: "up" in process.tail())
    process.stop()
    assert process.returncode == 7
    assert process.tail() == "up\ngood bye"
    assert process.pid is None


def test_closing_ends_whatever_still_runs_there(lab: Lab, tmp_path: Path) -> None:
    stubborn = "trap '' TERM HUP INT; sleep 1000 & echo up; wait"
    process = lab.host("one").start(["sh", "-c", stubborn], log=tmp_path / "log")
    eventually(lambda: "up" in process.tail())
    pid = process.pid
    assert pid is not None
    lab.close()
    assert not Path(f"/proc/{pid}").exists()
    assert process.wait(timeout=5) != 0


def test_a_host_that_cannot_be_made_as_asked_says_which_line_was_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"route add 10\.9\.0\.0/16 via 10\.8\.0\.1"):
        lab.host("one").route("10.9.0.0/16", via="10.8.0.1")


def test_nothing_is_left_when_the_one_who_made_the_lab_is_killed(tmp_path: Path) -> None:
    mark = f"1{os.getpid()}.25"
    script = f"""
from pathlib import Path
from federation.demo.topology import Lab
folder = Path({str(tmp_path)!r})
with Lab(folder) as lab:
    process = lab.host("one").start(["sh", "-c", "sleep {mark} & sleep {mark}"], log=folder / "log")
    print(process.pid, flush=True)
    input()
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        assert int(owner.stdout.readline()) > 0
        eventually(lambda: len(sleeping(mark)) == 2)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        eventually(lambda: not sleeping(mark))


def sleeping(mark: str) -> list[str]:
    """The `sleep` processes with *mark* for an argument."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[:2] == [b"sleep", mark.encode()]:
            found.append(entry.name)
    return found


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NamespacesUnavailable, match="`unshare` is not installed"):
        Lab(tmp_path).__enter__()
