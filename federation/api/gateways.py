"""What the agent's admin API says of gateways: those that are connected, and those that should be.

`state` is how far a connected one has taken its configuration (SYNCED, STALE, NACK); of one that is not there
to take calls it is why: STARTING, FAILED, DRAINING, or SILENT.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from clusters.reports import Phase
from federation.fronts import Front
from gateway.ads import GatewayStatus
from gateway.kinds import SHORT


def gateways_document(connected: Iterable[GatewayStatus], fronts: Iterable[Front]) -> list[dict[str, object]]:
    """Every gateway that is connected or has reported and not ended, by name."""
    told = {front.report.key: front for front in fronts if front.report.phase is not Phase.ENDED}
    found = {_key(status): _connected(status, told.get(_key(status))) for status in connected}
    missing = {key: _missing(front) for key, front in told.items() if key not in found}
    by_name = sorted({**found, **missing}.items(), key=lambda each: (each[0][0], sorted(each[0][1])))
    return [gateway for _, gateway in by_name]


def _key(status: GatewayStatus) -> tuple[str, frozenset[str]]:
    return status.spec.name, frozenset(str(role) for role in status.spec.roles)


def _connected(status: GatewayStatus, front: Front | None) -> dict[str, object]:
    away = front is not None and not front.takes_calls
    return {
        "name": status.spec.name,
        "roles": sorted(status.spec.roles),
        "state": _why(front) if front and away else status.standing,
        "detail": status.detail or (_history(front) if front else ""),
        "connected": True,
        "since": _moment(front) if front and away else status.since,
        "resources": {SHORT[kind]: held.held for kind, held in status.kinds.items() if kind in SHORT},
        "subscriptions": {SHORT[k]: held.subscribed for k, held in status.kinds.items() if k in SHORT},
        "address": status.peer.address,
        "restarts": front.report.restarts if front else 0,
        "vip_ranges": list(front.report.vip_ranges) if front else [],
        "probes": front.report.probes if front and not front.silent else (),
    }


def _missing(front: Front) -> dict[str, object]:
    return {
        "name": front.report.name,
        "roles": sorted(front.report.serves),
        "state": _why(front),
        "detail": _history(front),
        "connected": False,
        "since": _moment(front),
        "resources": {},
        "subscriptions": {},
        "address": "",
        "restarts": front.report.restarts,
        "vip_ranges": list(front.report.vip_ranges),
        "probes": (),
    }


def _why(front: Front) -> str:
    """Why no calls are sent to it; it may be up without having connected yet."""
    if front.silent:
        return "SILENT"
    return "STALE" if front.report.phase is Phase.UP else front.report.phase.upper()


def _history(front: Front) -> str:
    times = front.report.restarts
    return f"Envoy was started again {times} times; it ended with {front.report.last_end}" if times else ""


def _moment(front: Front) -> datetime:
    """When it became so, by the clock on the wall."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - front.since)
