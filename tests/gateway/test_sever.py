"""Ending connections of another process by their far ends. The other process is a real one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from gateway.sever import Connection, check_allowed, connections, sever

# Accepts on an address of its own, connects to others, and says "over" for each connection that ends.
PROGRAM = """
import selectors, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], 0), family=family)
made = [socket.create_connection((sys.argv[1], int(port))) for port in sys.argv[2:]]
print(listener.getsockname()[1], flush=True)
made.append(listener.accept()[0])
print("accepted", flush=True)
watched = selectors.DefaultSelector()
for number, one in enumerate(made):
    watched.register(one, selectors.EVENT_READ, number)
while watched.get_map():
    for key, _ in watched.select():
        if not key.fileobj.recv(100):
            watched.unregister(key.fileobj)
            print("over", key.data, flush=True)
"""


@dataclass
class Other:
    """A process with two connections that it opened and one that it accepted."""

    process: subprocess.Popen[str]
    dialled: list[socket.socket]
    caller: socket.socket

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ports(self) -> list[int]:
        return [int(one.getsockname()[1]) for one in self.dialled]

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextmanager
def other(address: str) -> Iterator[Other]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    servers = [socket.create_server((address, 0), family=family) for _ in range(2)]
    ports = [str(server.getsockname()[1]) for server in servers]
    argv = [sys.executable, "-c", PROGRAM, address, *ports]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        listening = int(process.stdout.readline())
        caller = socket.create_connection((address, listening))
        accepted = [server.accept()[0] for server in servers]
        assert process.stdout.readline() == "accepted\n"
        for one in accepted:
            one.settimeout(10)
        yield Other(process, accepted, caller)
        for each in (*servers, *accepted, caller):
            each.close()
        process.kill()


@pytest.fixture(params=["127.0.0.1", "::1"])
def process(request: pytest.FixtureRequest) -> Iterator[Other]:
    if ":" in request.param and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with other(request.param) as made:
        yield made


def test_exactly_the_doomed_connection_ends_on_both_sides(process: Other) -> None:
    doomed = process.ports[1]
    assert sever(process.pid, lambda c: c.port == doomed and not c.accepted) == 1
    assert process.says() == "over 1"
    assert process.dialled[1].recv(1) == b""
    process.dialled[0].sendall(b"still here")
    process.caller.sendall(b"me too")
    process.dialled[0].close()
    assert process.says() == "over 0"


def test_whom_it_accepted_is_told_from_whom_it_dialled(process: Other) -> None:
    address, port = process.caller.getsockname()[:2]
    found = {(c.address, c.port, c.accepted) for c in connections(process.pid)}
    assert (address, port, True) in found
    assert {(address, dialled, False) for dialled in process.ports} <= found
    assert sever(process.pid, lambda c: c.accepted and c.port == port) == 1
    assert process.says() == "over 2"


def test_connections_of_others_in_the_same_network_are_left_alone(process: Other) -> None:
    ours = {int(one.getpeername()[1]) for one in process.dialled}

    def is_ours(connection: Connection) -> bool:
        return connection.accepted and connection.port in ours

    assert any(is_ours(connection) for connection in connections(process.pid))
    assert sever(process.pid, is_ours) == 0


def test_a_process_that_has_ended_has_no_connections() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert sever(ended.pid, lambda _: True) == 0
    check_allowed(ended.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_it_is_said_when_the_kernel_does_not_let_us(process: Other) -> None:
    check_allowed(process.pid)
    as_nobody = f"""
import os
from gateway.errors import CannotSever
from gateway.sever import check_allowed
os.setgroups([])
os.setuid(65534)
try:
    check_allowed({process.pid})
except CannotSever as error:
    print(error.reason)
"""
    done = subprocess.run([sys.executable, "-c", as_nobody], capture_output=True, text=True, check=True)
    assert done.stdout == "Operation not permitted\n"
