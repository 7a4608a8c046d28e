"""What a gateway tells its agent of itself, every second: whether calls may come, and what befell it."""

from enum import StrEnum
from typing import Final

import msgspec

REPORT_PATH: Final = "/v1/report"
EVERY: Final = 1.0
"""Seconds between two reports of a gateway."""


class Phase(StrEnum):
    """Where a gateway is in its life. Calls are to come to it while it is up, and at no other time."""

    STARTING = "starting"
    UP = "up"
    FAILED = "failed"
    DRAINING = "draining"
    ENDED = "ended"


class Report(msgspec.Struct, frozen=True):
    """How gateway *name* is.

    `vip_ranges` are those that lead to it; none means all. `restarts` is how often its Envoy had to be
    started again, and `last_end` how it ended the last time.
    """

    name: str
    phase: Phase
    egress: bool = True
    vip_ranges: tuple[str, ...] = ()
    restarts: int = 0
    last_end: str = ""


class ReportAnswer(msgspec.Struct, frozen=True):
    """How many seconds a gateway that drains waits before it turns callers away: until they go elsewhere."""

    settle_seconds: float = 0.0
