"""What the agent says of its gateways: those that are connected, and those that have only reported."""

from datetime import UTC, datetime

from clusters.reports import Phase, Probe, Report
from federation.api.gateways import gateways_document
from federation.fronts import Front, Fronts
from gateway.ads import GatewayStatus
from gateway.delta import Standing
from gateway.rpc import Peer
from gateway.spec import GatewaySpec, Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOTH = frozenset(Role)
ALIVE = Probe("cloud", "192.0.2.20:15008", up=True, since=NOW)


def connected(name: str = "gw-1", roles: frozenset[Role] = BOTH) -> GatewayStatus:
    return GatewayStatus(GatewaySpec(name, roles), Peer("unix:"), NOW, Standing.SYNCED, NOW, {})


def front(phase: Phase = Phase.UP, roles: frozenset[Role] = BOTH, **report: int | str) -> Front:
    said = Report("gw-1", phase, roles=tuple(roles), probes=(ALIVE,), **report)  # type: ignore[arg-type]
    (made,) = Fronts([said]).all()
    return made


def states(*shown: dict[str, object]) -> list[tuple[object, object, object]]:
    return [(each["name"], each["state"], each["connected"]) for each in shown]


def test_one_that_is_connected_and_up_is_as_its_configuration_is() -> None:
    (shown,) = gateways_document([connected()], [front()])
    assert (shown["state"], shown["probes"]) == ("SYNCED", (ALIVE,))


def test_why_one_takes_no_calls_comes_first() -> None:
    (shown,) = gateways_document([connected()], [front(Phase.FAILED, restarts=2, last_end="signal 9")])
    assert shown["state"] == "FAILED"
    assert shown["detail"] == "Envoy was started again 2 times; it ended with signal 9"


def test_one_that_reports_and_is_not_connected_is_there_too() -> None:
    assert states(*gateways_document([], [front(Phase.STARTING)])) == [("gw-1", "STARTING", False)]
    assert states(*gateways_document([], [front()])) == [("gw-1", "STALE", False)]


def test_one_that_has_ended_is_not() -> None:
    assert gateways_document([], [front(Phase.ENDED)]) == []


def test_one_that_never_reports_is_shown_as_well() -> None:
    assert states(*gateways_document([connected()], [])) == [("gw-1", "SYNCED", True)]


def test_of_one_name_there_may_be_one_in_each_role() -> None:
    ingress, egress = frozenset({Role.INGRESS}), frozenset({Role.EGRESS})
    shown = gateways_document(
        [connected(roles=ingress), connected(roles=egress)], [front(Phase.FAILED, roles=ingress)]
    )
    assert [(each["roles"], each["state"]) for each in shown] == [
        (["egress"], "SYNCED"),
        (["ingress"], "FAILED"),
    ]
