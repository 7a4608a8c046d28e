"""Calls: how each is judged, and how the far gateway's word is found for exactly that connection."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from federation.demo.calls import Kind, call, connect_to, identity_of
from federation.demo.clients import Spoken
from federation.demo.process import Process
from federation.demo.samples import Answer
from federation.demo.world import Site, on_loopback

FRONTEND = "spiffe://onprem.fed.example/ns/shop/sa/frontend"
CURL = Kind("HTTP/1.1", 8080, "curl")
ANSWER = Answer("catalog@cloud", "HTTP/1.1", "127.77.2.1:40000")


class Scripted:
    """A machine on which every program ends as told; `ran` is what was asked for."""

    def __init__(self, stdout: str = "", returncode: int = 0, stderr: str = "") -> None:
        self._ends = (returncode, stdout, stderr)
        self.ran: list[str] = []

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        self.ran = list(argv)
        return subprocess.CompletedProcess(list(argv), *self._ends)

    def start(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        raise NotImplementedError


@pytest.fixture
def access_log(tmp_path: Path) -> Path:
    """An ingress's log that says that frontend called, from the address in `ANSWER`."""
    return write(tmp_path / "log", {"upstream_local": ANSWER.peer, "peer": FRONTEND})


def write(path: Path, *entries: Mapping[str, str], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)
    return path


def curl_said(answer: Answer, seconds: str = "0.0123") -> str:
    return answer.encode().decode() + seconds


def sites(machine: Scripted, *, resolves: bool = True) -> tuple[Site, Site]:
    onprem, cloud = on_loopback().sites
    return replace(onprem, caller=machine, resolves=resolves), cloud


def test_a_call_is_good_when_the_right_one_answers_and_its_gateway_saw_the_caller(access_log: Path) -> None:
    made = call(CURL, *sites(Scripted(curl_said(ANSWER))), "127.77.102.1", access_log)
    assert made.record() == {
        "from": "onprem",
        "to": "cloud",
        "protocol": "HTTP/1.1",
        "ok": True,
        "answered_by": "catalog@cloud",
        "server_saw": FRONTEND,
        "ms": 12.3,
    }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (replace(ANSWER, answered_by="orders@onprem"), "answered by orders@onprem, not by catalog@cloud"),
        (replace(ANSWER, protocol="HTTP/2"), "the server was called in HTTP/2"),
    ],
)
def test_an_answer_from_elsewhere_or_otherwise_is_no_success(
    answer: Answer, why: str, access_log: Path
) -> None:
    made = call(CURL, *sites(Scripted(curl_said(answer))), "127.77.102.1", access_log)
    assert (made.ok, made.failure) == (False, why)


def test_an_answer_to_somebody_else_is_no_success(tmp_path: Path) -> None:
    log = write(tmp_path / "log", {"upstream_local": ANSWER.peer, "peer": "spiffe://x/gateway/egress/gw-1"})
    made = call(CURL, *sites(Scripted(curl_said(ANSWER))), "127.77.102.1", log)
    assert not made.ok
    assert made.server_saw == "spiffe://x/gateway/egress/gw-1"
    assert "not " + FRONTEND in made.failure


def test_a_call_that_is_not_answered_says_why(access_log: Path) -> None:
    machine = Scripted(returncode=7, stderr="curl: (7) Failed to connect")
    made = call(CURL, *sites(machine), "127.77.102.1", access_log)
    assert (made.ok, made.failure, made.answered_by) == (False, "curl: (7) Failed to connect", "")


def test_a_machine_that_resolves_is_called_by_name_alone(access_log: Path) -> None:
    machine = Scripted(curl_said(ANSWER))
    call(CURL, *sites(machine, resolves=True), "127.77.102.1", access_log)
    assert machine.ran[-1] == "http://catalog.shop.svc.clusterset.local:8080"
    assert "127.77.102.1" not in " ".join(machine.ran)
    call(CURL, *sites(machine, resolves=False), "127.77.102.1", access_log)
    assert connect_to("127.77.102.1") == machine.ran[-3:-1]


def test_a_python_client_is_told_the_name_and_the_port(access_log: Path) -> None:
    answer = replace(ANSWER, protocol="gRPC")
    printed = json.dumps(
        {
            "program": "grpcio",
            "answer": {"answered_by": answer.answered_by, "protocol": "gRPC", "peer": answer.peer},
        }
        | {"ms": 3.5}
    )
    machine = Scripted(printed)
    made = call(Kind("gRPC", 9090, "grpc"), *sites(machine), "127.77.102.1", access_log)
    assert (made.ok, made.program, made.ms) == (True, "grpcio", Spoken.parse(printed).ms)
    assert machine.ran[-3:] == ["grpc", "catalog.shop.svc.clusterset.local", "9090"]


def test_the_newest_connection_from_a_port_is_the_one_that_counts(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log",
        {"upstream_local": "10.0.0.1:5", "peer": "spiffe://a/old"},
        {"upstream_local": "10.0.0.1:6", "peer": "spiffe://a/other"},
        {"upstream_local": "10.0.0.1:5", "peer": "spiffe://a/new"},
    )
    assert identity_of("10.0.0.1:5", log) == "spiffe://a/new"


def test_a_line_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    entry = json.dumps({"upstream_local": "10.0.0.1:5", "peer": FRONTEND})
    log = write(tmp_path / "log", tail=entry[:20])

    def finish(_: float) -> None:
        log.write_text(entry + "\n")

    assert identity_of("10.0.0.1:5", log, sleep=finish) == FRONTEND


def test_a_connection_that_is_never_logged_has_no_identity(tmp_path: Path) -> None:
    times: Iterator[float] = iter([0.0, 1.0, 2.0, 3.5])
    slept: list[float] = []
    found = identity_of("10.0.0.1:5", tmp_path / "none", 3.0, lambda: next(times), slept.append)
    assert found is None
    assert len(slept) == 2
