"""What Envoy says of the gateways that it probes, read from its admin interface's answer."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from clusters.reports import Probe
from gateway.errors import EnvoyFailed
from gateway.probes import Lookout, verdicts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


def host(address: str, **health: bool) -> dict[str, object]:
    return {
        "address": {"socket_address": {"address": address, "port_value": 15008}},
        "health_status": {"eds_health_status": "HEALTHY", **health},
        "stats": [],
    }


def answer(**clusters: list[dict[str, object]]) -> bytes:
    listed = [{"name": name.replace("_", "|"), "host_statuses": hosts} for name, hosts in clusters.items()]
    return json.dumps({"cluster_statuses": listed}).encode()


DEAD = {"failed_active_health_check": True}


def test_each_address_of_each_cluster_has_a_verdict() -> None:
    said = answer(gw_cloud=[host("2001:db8::1"), host("192.0.2.20", **DEAD)], gw_onprem=[host("192.0.2.10")])
    assert verdicts(said, (), NOW) == (
        Probe("cloud", "192.0.2.20:15008", up=False, since=NOW, reason="refused, cut or not well"),
        Probe("cloud", "[2001:db8::1]:15008", up=True, since=NOW),
        Probe("onprem", "192.0.2.10:15008", up=True, since=NOW),
    )


def test_one_that_answers_nothing_is_told_from_one_that_refuses() -> None:
    (probe,) = verdicts(answer(gw_cloud=[host("192.0.2.20", **DEAD, active_hc_timeout=True)]), (), NOW)
    assert probe.reason == "no answer in time"


def test_since_stays_while_the_verdict_does() -> None:
    before = verdicts(answer(gw_cloud=[host("192.0.2.20"), host("192.0.2.21")]), (), NOW)
    after = verdicts(answer(gw_cloud=[host("192.0.2.20"), host("192.0.2.21", **DEAD)]), before, LATER)
    assert [probe.since for probe in after] == [NOW, LATER]


def test_who_was_not_probed_yet_has_no_verdict() -> None:
    pending = host("192.0.2.20", pending_active_hc=True, **DEAD)
    assert verdicts(answer(gw_cloud=[pending]), (), NOW) == ()


def test_ways_and_services_are_no_gateways() -> None:
    internal: dict[str, object] = {"address": {"envoy_internal_address": {}}, "health_status": {}}
    listed = [{"name": "gw|cloud,edge", "host_statuses": [internal]}, {"name": "vip|241.0.0.1:80"}]
    assert verdicts(json.dumps({"cluster_statuses": listed}).encode(), (), NOW) == ()


@pytest.mark.parametrize("said", [b"", b"[]", b'{"cluster_statuses": [{}]}', b"not ready"])
def test_what_is_no_answer_is_no_verdict(said: bytes) -> None:
    with pytest.raises(EnvoyFailed):
        verdicts(said, (), NOW)


@contextmanager
def envoy(path: Path, status: int, content: bytes) -> Iterator[list[str]]:
    """An admin interface that gives one answer; what it was asked for is in the list."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base)
            """Be quiet."""

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_envoy_is_asked_for_gateways_alone(short_path: Path) -> None:
    with envoy(short_path / "a.sock", 200, answer(gw_cloud=[host("192.0.2.20")])) as asked:
        assert [probe.up for probe in Lookout(short_path / "a.sock", lambda: NOW).look()] == [True]
    assert asked == ["/clusters?format=json&filter=%5Egw%5C%7C%5B%5E%2C%5D%2B%24"]


def test_gateways_are_gone_when_envoy_has_no_way_to_their_cluster_any_more(short_path: Path) -> None:
    lookout = Lookout(short_path / "a.sock", lambda: NOW)
    cloud, edge = [host("192.0.2.20"), host("192.0.2.21")], [host("192.0.2.30")]
    for said, gone in (
        (answer(gw_cloud=cloud, gw_edge=edge), set()),
        (answer(gw_cloud=cloud[:1], gw_edge=[]), set()),
        (answer(gw_edge=edge), {"192.0.2.20:15008", "192.0.2.21:15008"}),
        (answer(gw_cloud=cloud), {"192.0.2.30:15008"}),
        (answer(gw_onprem=cloud), {"192.0.2.30:15008"}),
    ):
        with envoy(short_path / "a.sock", 200, said):
            lookout.look()
        assert lookout.gone == gone
        (short_path / "a.sock").unlink()


def test_an_envoy_that_is_not_there_or_not_well_is_an_error(short_path: Path) -> None:
    lookout = Lookout(short_path / "a.sock", lambda: NOW)
    with pytest.raises(EnvoyFailed, match="no answer"):
        lookout.look()
    with envoy(short_path / "a.sock", 503, b""), pytest.raises(EnvoyFailed, match="503"):
        lookout.look()
