"""The sample servers and the ordinary callers, without fedgate in between."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from federation.demo.clients import Spoken
from federation.demo.process import Process
from federation.demo.samples import READY, Answer

NAME = "catalog.shop.svc.clusterset.local"


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of one sample service of each kind."""
    folder = tmp_path_factory.mktemp("samples")
    with ExitStack() as stack:
        found = {kind: free_port() for kind in ("http", "grpc", "tcp")}
        samples = [stack.enter_context(sample(kind, port, folder)) for kind, port in found.items()]
        deadline = time.monotonic() + 20
        while not all(READY in process.tail() for process in samples):
            assert time.monotonic() < deadline, [process.tail() for process in samples]
            time.sleep(0.02)
        yield found


def sample(kind: str, port: int, folder: Path) -> Process:
    listen = ["--listen", f"127.0.0.1:{port}"]
    argv = [sys.executable, "-m", "federation.demo.samples", kind, "--name", "catalog@cloud", *listen]
    return Process(argv, name=kind, log=folder / f"{kind}.log")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def client(kind: str, port: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "federation.demo.clients", kind, NAME, str(port), "--address", "127.0.0.1"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("kind", "server", "protocol", "program"),
    [
        ("http1", "http", "HTTP/1.1", "http.client"),
        ("http2", "http", "HTTP/2", "httpx"),
        ("websocket", "http", "WebSocket", "websockets"),
        ("grpc", "grpc", "gRPC", "grpcio"),
        ("tcp", "tcp", "TCP", "socket"),
    ],
)
def test_every_client_is_answered_in_its_protocol(
    ports: dict[str, int], kind: str, server: str, protocol: str, program: str
) -> None:
    done = client(kind, ports[server])
    assert done.returncode == 0, done.stderr
    spoken = Spoken.parse(done.stdout)
    assert (spoken.program, spoken.answer.answered_by) == (program, "catalog@cloud")
    assert spoken.answer.protocol == protocol
    assert spoken.answer.peer.startswith("127.0.0.1:")
    assert spoken.ms > 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    ("option", "protocol"), [("--http1.1", "HTTP/1.1"), ("--http2-prior-knowledge", "HTTP/2")]
)
def test_one_port_speaks_both_versions_of_http_to_curl(
    ports: dict[str, int], option: str, protocol: str
) -> None:
    argv = ["curl", "-q", "-s", "--noproxy", "*", option, f"http://127.0.0.1:{ports['http']}/"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert Answer.parse(done.stdout).protocol == protocol


def test_a_client_that_reaches_nobody_says_why_and_fails() -> None:
    done = client("tcp", free_port())
    assert (done.returncode, done.stdout) == (1, "")
    assert "ConnectionRefusedError" in done.stderr


@pytest.mark.parametrize("kind", ["http1", "http2", "websocket", "grpc", "tcp"])
def test_a_client_that_is_spoken_to_in_another_protocol_fails(ports: dict[str, int], kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as babbler:
        port = int(babbler.getsockname()[1])
        argv = [
            sys.executable,
            "-m",
            "federation.demo.clients",
            kind,
            NAME,
            str(port),
            "--address",
            "127.0.0.1",
        ]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = babbler.accept()
            connection.sendall(b"I say what I like\n")
            connection.close()
            babbler.close()
            printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed) == (1, "")
    assert said.strip()


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"answered_by": "x"})])
def test_what_is_no_answer_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the decoder's own, or ours)
        Answer.parse(text)
