"""Many events of one kind as one: neither thousands of certificates nor a stranger who knocks all day long
may push everything else out of the record.

Of an action that can come in floods so many are written down one by one, and then a few a minute. The others
are counted, and told each minute as one event about `*`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from federation.audit_chain import Event

EVERY: Final = timedelta(minutes=1)
_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many of an action are written down one by one: *at_once*, and again so many *a_minute*."""

    at_once: int
    a_minute: float


ALLOWANCES: Final[Mapping[str, Allowance]] = {
    "denied": Allowance(60, 1),  # whoever can reach the hub can be denied
    "issued": Allowance(1000, 20),
    "refused": Allowance(60, 1),  # a member may say what it may not as often as it likes
    "revoked": Allowance(60, 1),
    "withdrawal-doubted": Allowance(60, 1),
    "withdrawal-ended": Allowance(60, 1),
}


class Thrift:
    """Lets events pass, or counts them."""

    def __init__(self, allowances: Mapping[str, Allowance] = ALLOWANCES) -> None:
        self._buckets = {action: _Bucket(allowed) for action, allowed in allowances.items()}

    def passed(self, event: Event) -> Iterator[Event]:
        """What to write down now that *event* has happened: it, or nothing yet."""
        bucket = self._buckets.get(event.action)
        if bucket is None or bucket.admits(event):
            yield event

    def told(self, now: datetime, *, at_end: bool = False) -> Iterator[Event]:
        """What to write down of those that were counted, if a minute is over or it is all at an end."""
        for bucket in self._buckets.values():
            if bucket.since is not None and (at_end or not bucket.since <= now < bucket.since + EVERY):
                yield bucket.emptied(now)


@dataclass(slots=True)
class _Bucket:
    """The events of one action: how many more may pass, and those that did not."""

    allowed: Allowance
    left: float = field(init=False)
    seen: datetime | None = None
    since: datetime | None = None
    counted: int = 0
    action: str = ""
    subjects: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = self.allowed.at_once

    def admits(self, event: Event) -> bool:
        """Whether *event* may pass; if not, it is counted."""
        minutes = max(0.0, (event.at - (self.seen or event.at)) / EVERY)
        self.left = min(self.allowed.at_once, self.left + minutes * self.allowed.a_minute)
        self.seen = event.at
        if self.left >= 1:
            self.left -= 1
            return True
        self.since = self.since or event.at
        self.counted += 1
        self.action = event.action
        if len(self.subjects) < _NAMED:
            self.subjects[event.subject] = None
        return False

    def emptied(self, now: datetime) -> Event:
        """One event for all that were counted."""
        details = {"count": str(self.counted), "among": " ".join(self.subjects)}
        self.since, self.counted, self.subjects = None, 0, {}
        return Event(now, self.action, "*", details=details)
