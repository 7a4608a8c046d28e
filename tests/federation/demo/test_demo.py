"""The demo as people run it: the whole of it, with real Envoys, and what is left afterwards."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path

import pytest

from tests import readme, requirements

pytestmark = [pytest.mark.envoy, pytest.mark.slow, pytest.mark.xdist_group("demo")]

DEMO = [sys.executable, "-m", "federation", "demo"]
ONPREM, CLOUD = (
    f"spiffe://{c}.fed.example/ns/shop/sa/{w}" for c, w in (("onprem", "frontend"), ("cloud", "reports"))
)


@pytest.fixture
def environment(short_path: Path) -> dict[str, str]:
    """An environment in which whatever the demo leaves behind is found in *short_path*."""
    return {**os.environ, "TMPDIR": str(short_path)}


@pytest.fixture
def namespaces() -> None:
    requirements.namespaces()


def without_namespaces(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """*environment* on a machine on which nobody can make namespaces."""
    folder.mkdir()
    for program in ("sh", "env", "cat", "rm", "curl", "setpriv"):
        if found := shutil.which(program):
            (folder / program).symlink_to(found)
    return {**environment, "PATH": str(folder)}


def report_of(argv: list[str], environment: Mapping[str, str]) -> dict[str, object]:
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def check(report: dict[str, object], mode: str) -> None:
    assert (report["ok"], report["scenario"], report["mode"]) == (True, "calls", mode)
    first, seconds = report["join_to_first_call_seconds"], report["seconds"]
    assert isinstance(first, float)
    assert isinstance(seconds, float)
    assert first < seconds
    calls = report["calls"]
    assert isinstance(calls, list)
    protocols = {"HTTP/1.1", "HTTP/2", "gRPC", "WebSocket", "TCP"}
    for source, target, answers, identity in (
        ("onprem", "cloud", "catalog@cloud", ONPREM),
        ("cloud", "onprem", "orders@onprem", CLOUD),
    ):
        made = [call for call in calls if (call["from"], call["to"]) == (source, target)]
        assert {call["protocol"] for call in made} == protocols
        assert {(call["ok"], call["answered_by"], call["server_saw"]) for call in made} == {
            (True, answers, identity)
        }


@pytest.mark.netns
@pytest.mark.usefixtures("namespaces")
def test_both_clusters_call_each_other_in_namespaces_and_nothing_is_left(
    environment: dict[str, str], short_path: Path
) -> None:
    check(report_of([*DEMO, "--once", "-o", "json"], environment), "namespaces")
    assert left(short_path) == ([], [])


def test_both_clusters_call_each_other_on_loopback_where_there_are_no_namespaces(
    environment: dict[str, str], short_path: Path
) -> None:
    poorer = without_namespaces(environment, short_path / "bin")
    check(report_of([*DEMO, "--once", "-o", "json", "--state", str(short_path / "kept")], poorer), "loopback")
    assert (short_path / "kept" / "hub").is_dir()
    shutil.rmtree(short_path / "kept")
    assert left(short_path) == ([], [])


@pytest.mark.netns
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("scenario", ["hub-loss", "gateway-restart", "evict", "root-rollover", "mass-loss"])
def test_no_call_notices(scenario: str, environment: dict[str, str], short_path: Path) -> None:
    report = report_of([*DEMO, "--once", "-o", "json", "--scenario", scenario], environment)
    assert (report["ok"], report["scenario"], report["calls_failed"]) == (True, scenario, 0)
    check_load(report)
    assert left(short_path) == ([], [])


@pytest.mark.netns
@pytest.mark.usefixtures("namespaces")
def test_hubs_are_killed_and_replaced_in_turn_and_no_call_and_no_registration_is_lost(
    environment: dict[str, str], short_path: Path
) -> None:
    requirements.program("etcd")
    report = report_of([*DEMO, "--once", "-o", "json", "--scenario", "hub-failover"], environment)
    assert (report["ok"], report["calls_failed"], report["problems"]) == (True, 0, [])
    registrations = report["registrations"]
    assert isinstance(registrations, list)
    assert len(registrations) == 6
    check_load(report)
    assert left(short_path) == ([], [])


@pytest.mark.netns
@pytest.mark.usefixtures("namespaces")
def test_calls_go_elsewhere_when_backends_and_then_a_whole_cluster_are_gone(
    environment: dict[str, str], short_path: Path
) -> None:
    report = report_of([*DEMO, "--once", "-o", "json", "--scenario", "failover"], environment)
    assert (report["ok"], report["problems"]) == (True, [])
    check_load(report)
    assert left(short_path) == ([], [])


@pytest.mark.netns
@pytest.mark.usefixtures("namespaces")
def test_what_is_cut_is_noticed_and_no_call_notices_that_a_control_link_is(
    environment: dict[str, str], short_path: Path
) -> None:
    report = report_of([*DEMO, "--once", "-o", "json", "--scenario", "partition"], environment)
    assert (report["ok"], report["problems"]) == (True, [])
    assert left(short_path) == ([], [])


def check_load(report: dict[str, object]) -> None:
    total, gap, rate = (report[key] for key in ("calls_total", "longest_gap_ms", "connections_per_second"))
    assert isinstance(total, int)
    assert isinstance(gap, float)
    assert isinstance(rate, float)
    assert (total >= 2000, gap < 3000, rate >= 50) == (True, True, True)


@pytest.mark.netns
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_stays_up_for_lines_to_paste_and_leaves_nothing_however_it_is_ended(
    number: signal.Signals, environment: dict[str, str], short_path: Path
) -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        shown = list(takewhile(lambda line: line != "Ctrl-C ends everything.\n", demo.stdout))
        pasted = [line.rstrip() for line in shown if " curl http" in line]
        assert len(pasted) == 2, "".join(shown)
        answers = [subprocess.run(line, shell=True, capture_output=True, check=True) for line in pasted]  # noqa: S602
        assert [json.loads(done.stdout)["answered_by"] for done in answers] == [
            "catalog@cloud",
            "orders@onprem",
        ]
        assert left(short_path) != ([], [])
        demo.send_signal(number)
        rest = demo.stdout.read()
    if number is not signal.SIGKILL:
        assert "Nothing is left behind." in rest
        assert demo.returncode == 0
        assert left(short_path) == ([], [])
    eventually(lambda: left(short_path) == ([], []))


def left(folder: Path) -> tuple[list[str], list[str]]:
    """The demo's folders below *folder*, and the processes that have to do with them."""
    folders = [path.name for path in folder.glob("fedgate-demo-*")]
    processes = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if f"{folder}/fedgate-demo-".encode() in line:
            processes.append(line.decode())
    return folders, processes


def eventually(true: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


def test_the_demo_says_what_readme_shows(namespaces: None, environment: dict[str, str]) -> None:
    argv = [*DEMO, "--once"]
    said = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120, check=True)
    (shown,) = (block for block in readme.blocks("text") if block.startswith("fedgate demo"))
    # On a busy machine the first call may be too early.
    at_once = re.sub(r"began, try \d+", "began", said.stdout)
    assert readme.numberless(at_once) == readme.numberless(shown)
