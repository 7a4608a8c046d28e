"""The demo's frame: what it refuses, what it reports, and what it leaves."""

import io
import signal
from pathlib import Path

import pytest

from federation.demo.backstage import Ended, cleaning_up, folder_for
from federation.demo.calls import Call
from federation.demo.scenario import Report
from federation.demo.show import DemoSettings, run, show_failure
from federation.demo.stage import Stage
from federation.errors import CannotDemonstrate, StepFailed
from federation.output import Output
from gateway.errors import EnvoyNotFound

GOOD = Call("onprem", "cloud", "gRPC", "grpcio", "catalog@cloud", "spiffe://x/ns/shop/sa/frontend", 12.34)
BAD = Call("cloud", "onprem", "TCP", "socket", failure="connection refused")


def test_the_report_is_one_object_of_the_promised_shape() -> None:
    report = Report("calls", "namespaces", 2.345, [GOOD], finished=True)
    assert report.document(12.3456) == {
        "ok": True,
        "scenario": "calls",
        "mode": "namespaces",
        "seconds": 12.35,
        "join_to_first_call_seconds": 2.35,
        "calls": [
            {
                "from": "onprem",
                "to": "cloud",
                "protocol": "gRPC",
                "ok": True,
                "answered_by": "catalog@cloud",
                "server_saw": "spiffe://x/ns/shop/sa/frontend",
                "ms": 12.3,
            }
        ],
    }


@pytest.mark.parametrize(
    "report",
    [
        Report("calls", "namespaces", 1.0, [GOOD, BAD], finished=True),
        Report("calls", "namespaces", 1.0, [GOOD], finished=False),
        Report("calls", "namespaces", 1.0, [], finished=True),
    ],
)
def test_one_bad_call_or_none_or_an_early_end_is_no_success(report: Report) -> None:
    assert report.document(1.0)["ok"] is False


def test_without_an_envoy_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDGATE_ENVOY", "/nonexistent/envoy")
    with pytest.raises(EnvoyNotFound, match="/nonexistent/envoy"):
        run(DemoSettings(once=True))


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDGATE_ENVOY", "/bin/true")
    (tmp_path / "precious").write_text("data")
    with pytest.raises(CannotDemonstrate, match="is not empty"):
        run(DemoSettings(once=True, state=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert capsys.readouterr().err == ""


def test_a_folder_that_was_not_asked_for_goes_and_one_that_was_stays(tmp_path: Path) -> None:
    with folder_for(None) as folder:
        (folder / "state").write_text("secret")
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    with folder_for(tmp_path / "kept") as folder:
        (folder / "state").write_text("secret")
    assert (tmp_path / "kept" / "state").exists()


def test_cleaning_up_is_not_disturbed_by_a_second_signal() -> None:
    done = []
    before = signal.getsignal(signal.SIGINT)

    def clean() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        done.append("cleaned")

    def work_until_told_to_end() -> None:
        with cleaning_up() as stack:
            stack.callback(clean)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Ended):
        work_until_told_to_end()
    assert done == ["cleaned"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_failed_step_is_shown_with_what_the_culprit_wrote_last() -> None:
    stream = io.StringIO()
    log = (
        '{"time": "now", "level": "error", "logger": "x", "event": "address taken", "port": 7443}\nTraceback'
    )
    show_failure(Stage(stream, Output()), StepFailed("hub ended with status 1", log), DemoSettings())
    assert stream.getvalue().splitlines() == [
        "",
        "hub ended with status 1",
        "its log ends with:",
        "    error: address taken port=7443",
        "    Traceback",
        "`fedgate demo --state DIR` keeps all logs",
    ]
