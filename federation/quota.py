"""How much of the hub one cluster takes: what it may have there, and how fast it may change it.

What is too large or too much is refused by name, and all else in the same message is taken. Who changes too
much is not refused but made to wait: nothing is read from its stream meanwhile, so nothing heaps up here, and
nobody else waits with it.
"""

from collections.abc import Mapping
from typing import Final

from federation.errors import ChangesRejected
from federation.registry.grants import Limits
from federation.sync import records

CONNECTION: Final = 100
"""As so many changes a new connection counts: all that the cluster has is read for it."""
_AT_ONCE: Final = 1_000
MOST_AT_ONCE: Final = 50_000
"""How many records may be in one message; agents send far fewer."""

# So that as many as are written in one transaction fit into it.
_SMALL: Final = 40 << 10
_LARGE: Final = 512 << 10
_RECORD_BYTES: Final[Mapping[str, int]] = {
    records.EXPORT: _SMALL,
    records.GATEWAY: _SMALL,
    records.JWT_KEYS: _SMALL,
    records.TRUST: _SMALL,
    records.LEAVE: _SMALL,
    records.WITHHELD: 8 << 10,
    records.REVOKED: 136 << 10,  # the most that there may be, each of two labels of 63
    records.ANCHORS: 256 << 10,
}
_COUNTED: Final = 1 << 10


def weight(changes: Mapping[str, bytes | None]) -> int:
    """How many changes *changes* count as: one for each record, and for a large one as many as it has KiB."""
    return sum(max(1, len(body or b"") // _COUNTED) for body in changes.values())


class Rate:
    """How fast one cluster changes what it has, over all its connections."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._seen = 0.0

    def delay(self, changes: int, limits: Limits, now: float) -> float:
        """How many seconds to wait before so many *changes* are taken, which count as made from here on.

        *now* is in seconds, of a clock that only goes forward.
        """
        at_once, a_second = float(max(limits.services, _AT_ONCE)), limits.changes_per_second
        left = at_once if self._left is None else self._left + (now - self._seen) * a_second
        self._left, self._seen = min(at_once, left) - changes, now
        return max(0.0, -self._left / a_second)


class Account:
    """What one cluster has: *held* is how many bytes each of its exports takes.

    *room* is how many services have an address at all: three quarters of it are the most that one may take.
    """

    def __init__(self, held: Mapping[str, int], room: int) -> None:
        self._held = dict(held)
        self._total = sum(held.values())
        self._room = room

    def refused(self, kind: str, changes: Mapping[str, bytes | None], limits: Limits) -> dict[str, str]:
        """Which of *changes* are not taken, and why; `ChangesRejected` for far too many in one message."""
        if len(changes) > MOST_AT_ONCE:
            raise ChangesRejected(f"{len(changes)} records in one message: want {MOST_AT_ONCE} at most")
        most = _RECORD_BYTES.get(kind, _LARGE)
        found = {
            name: f"has {len(body)} bytes: want {most} at most"
            for name, body in changes.items()
            if body is not None and len(body) > most
        }
        if kind == records.EXPORT:
            rest = {name: body for name, body in changes.items() if name not in found}
            found |= self._beyond(rest, limits)
        return found

    def took(self, kind: str, changes: Mapping[str, bytes | None]) -> None:
        """Note that *changes* are written down."""
        if kind == records.EXPORT:
            for name, body in changes.items():
                self._total -= self._held.pop(name, 0)
                if body is not None:
                    self._held[name] = len(body)
                    self._total += len(body)

    def _beyond(self, changes: Mapping[str, bytes | None], limits: Limits) -> dict[str, str]:
        """The exports for which there is no room, after those that go have made some."""
        most = min(limits.services, max(1, self._room * 3 // 4))
        gone = [name for name, body in changes.items() if body is None]
        count = len(self._held) - sum(name in self._held for name in gone)
        total = self._total - sum(self._held.get(name, 0) for name in gone)
        refused = {}
        for name, body in changes.items():
            if body is None:
                continue
            before = self._held.get(name)
            grown = len(body) - (before or 0)
            if before is None and count >= most:
                refused[name] = f"this cluster has {most} services, which is as many as it may have"
            elif grown > 0 and total + grown > limits.bytes:
                refused[name] = f"the exports of this cluster take more than {limits.bytes} bytes"
            else:
                count, total = count + (before is None), total + grown
        return refused
