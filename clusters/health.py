"""Whether an endpoint takes calls: what it is asked, and what becomes of its standing by each answer. Pure.

Nobody who was not asked yet is taken for dead: an endpoint is believed until it was found out otherwise.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from clusters.errors import InvalidValue

_PATH = re.compile(r"/[!-~]{0,1023}")
_GRPC_SERVICE = re.compile(r"[A-Za-z0-9._/-]{0,127}")


class CheckKind(StrEnum):
    """What an endpoint is asked: to take a connection, for a 2xx or 3xx, for SERVING."""

    TCP = "tcp"
    HTTP = "http"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How the endpoints of a service are checked; times are in seconds.

    `path` is for HTTP alone. `service` is for gRPC alone: what the server is asked about, all of it if empty.
    """

    kind: CheckKind
    port: int
    path: str = "/"
    service: str = ""
    interval: float = 2.0
    timeout: float = 1.0
    unhealthy_threshold: int = 2
    healthy_threshold: int = 1

    def __post_init__(self) -> None:
        http_path(self.path)
        grpc_service(self.service)
        interval(self.interval)
        timeout(self.timeout)
        threshold(self.unhealthy_threshold)
        threshold(self.healthy_threshold)


def interval(seconds: float) -> float:
    """Check that an endpoint may be checked every so many *seconds*."""
    return _within("interval", seconds, 0.1, 3600)


def timeout(seconds: float) -> float:
    """Check that an endpoint may be waited for so long."""
    return _within("timeout", seconds, 0.01, 60)


def threshold(count: int) -> int:
    """Check that so many verdicts may be wanted in a row."""
    if not 1 <= count <= 100:
        raise InvalidValue("threshold", count, "want 1-100")
    return count


def _within(what: str, seconds: float, least: float, most: float) -> float:
    if not least <= seconds <= most:
        raise InvalidValue(what, f"{seconds:g}s", f"want {least:g}s to {most:g}s")
    return seconds


def http_path(text: str) -> str:
    """Check that *text* can be asked for by HTTP."""
    if not _PATH.fullmatch(text):
        raise InvalidValue("path", text, "want '/' and at most 1023 visible ASCII characters")
    return text


def grpc_service(text: str) -> str:
    """Check that *text* can be the name of a gRPC service."""
    if not _GRPC_SERVICE.fullmatch(text):
        raise InvalidValue("service", text, "want at most 127 letters, digits, '.', '_', '/' and '-'")
    return text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check has found: whether the endpoint takes calls, and if not, why."""

    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an endpoint takes calls and since when, and why not, in the words of the last check.

    `against` is how many checks in a row have said otherwise.
    """

    ready: bool
    since: datetime
    reason: str = ""
    checked: bool = False
    against: int = 0

    @property
    def state(self) -> str:
        """In one word: `ready`, `down`, or `believed` for one that no check has told of yet."""
        if not self.ready:
            return "down"
        return "ready" if self.checked else "believed"


def after(standing: Standing, check: HealthCheck, verdict: Verdict, now: datetime) -> Standing:
    """What an endpoint's *standing* is once a check has come to *verdict*.

    As many verdicts in a row as the check's threshold turn it; one that agrees starts the count again.
    """
    if verdict.ready == standing.ready:
        return replace(standing, checked=True, against=0, reason=verdict.reason)
    against = standing.against + 1
    if against < (check.healthy_threshold if verdict.ready else check.unhealthy_threshold):
        return replace(standing, checked=True, against=against, reason=verdict.reason)
    return Standing(verdict.ready, now, verdict.reason, checked=True)
