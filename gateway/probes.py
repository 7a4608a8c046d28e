"""What a running Envoy has found out about other gateways by probing them, asked once a second.

Envoy is asked for the clusters of gateways alone. It compares the name of each cluster that it has with that,
which takes 14 ms for 5,000 of them, in the thread that carries no calls.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import quote

import msgspec

from clusters.reports import Probe
from gateway import names
from gateway.admin import ask
from gateway.errors import EnvoyFailed

_QUESTION: Final = "/clusters?format=json&filter=" + quote(r"^gw\|[^,]+$")


class _SocketAddress(msgspec.Struct):
    address: str
    port_value: int


class _Address(msgspec.Struct):
    socket_address: _SocketAddress | None = None


class _Health(msgspec.Struct):
    failed_active_health_check: bool = False
    pending_active_hc: bool = False
    active_hc_timeout: bool = False


class _Host(msgspec.Struct):
    address: _Address
    health_status: _Health


class _Cluster(msgspec.Struct):
    name: str
    host_statuses: tuple[_Host, ...] = ()


class _Clusters(msgspec.Struct):
    cluster_statuses: tuple[_Cluster, ...] = ()


class Lookout:
    """Asks the Envoy whose admin interface is at *socket*, and remembers what it was told, for any thread.

    `gone` are the gateways, as ADDRESS:PORT, of clusters to which this Envoy once had a way and has none now.
    Those that a cluster has taken back while others of it are left are not: they may be ending their calls.
    """

    def __init__(self, admin: Path, now: Callable[[], datetime]) -> None:
        self._admin = admin
        self._now = now
        self._last: tuple[Probe, ...] = ()
        self._whose: dict[str, str] = {}
        self._one_at_a_time = Lock()
        self.gone: frozenset[str] = frozenset()

    def look(self) -> tuple[Probe, ...]:
        """The verdicts of this moment; raises EnvoyFailed if there is no answer that makes sense."""
        with self._one_at_a_time:
            clusters = _read(ask(self._admin, "GET", _QUESTION))
            self._whose |= {address: cluster for cluster, address, _ in _gateways(clusters)}
            there = {names.gateways_of(cluster.name) for cluster in clusters}
            self.gone = frozenset(where for where, cluster in self._whose.items() if cluster not in there)
            self._last = _verdicts(clusters, self._last, self._now())
            return self._last


def verdicts(answer: bytes, before: tuple[Probe, ...], now: datetime) -> tuple[Probe, ...]:
    """Read Envoy's *answer*; a verdict that is what it was *before* stands since then.

    A gateway that was not probed yet has no verdict. Raises EnvoyFailed for what is no such answer.
    """
    return _verdicts(_read(answer), before, now)


def _read(answer: bytes) -> tuple[_Cluster, ...]:
    try:
        return msgspec.json.decode(answer, type=_Clusters).cluster_statuses
    except msgspec.DecodeError as error:
        raise EnvoyFailed("Envoy's answer about clusters cannot be read", str(error)) from error


def _gateways(clusters: Iterable[_Cluster]) -> Iterator[tuple[str, str, _Health]]:
    """The gateways among *clusters*: whose each is, where, and how it is."""
    for cluster in clusters:
        name = names.gateways_of(cluster.name)
        for host in cluster.host_statuses:
            where = host.address.socket_address
            if name is not None and where is not None:
                yield name, names.host_port(where.address, where.port_value), host.health_status


def _verdicts(clusters: Iterable[_Cluster], before: tuple[Probe, ...], now: datetime) -> tuple[Probe, ...]:
    known = {(probe.cluster, probe.address): probe for probe in before}
    found: dict[tuple[str, str], Probe] = {}
    for name, address, health in _gateways(clusters):
        if health.pending_active_hc:
            continue
        probe = Probe(name, address, not health.failed_active_health_check, now, _reason(health))
        earlier = known.get((name, address))
        same = earlier is not None and earlier.up == probe.up
        since = earlier.since if earlier is not None and same else now
        found[name, address] = msgspec.structs.replace(probe, since=since)
    return tuple(probe for _, probe in sorted(found.items()))


def _reason(health: _Health) -> str:
    if not health.failed_active_health_check:
        return ""
    return "no answer in time" if health.active_hc_timeout else "refused, cut or not well"
