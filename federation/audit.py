"""The audit record of a hub or an agent: who was given, refused or deprived of what, and when.

    audit.record("denied", "onprem", actor="10.0.0.7", code="token-used")

An event is written down by a thread of its own, so that nobody waits for the disk; it is there some
milliseconds later. A disk that takes nothing stops nothing else: events wait, are written when it can be
done, and `trouble` says why they wait.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from cryptography import x509

from clusters.clock import utc_now
from federation.audit_chain import Event
from federation.audit_files import Journal, Limits
from federation.audit_thrift import Thrift
from federation.errors import FederationError
from federation.log import Log

log = Log(__name__)

LOST: Final = "audit-lost"
_MOST_WAITING: Final = 20_000
_RETRY_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 30.0


def described(certificate: x509.Certificate) -> dict[str, str]:
    """What an entry says of a certificate: its serial number, and when it ends."""
    return {"serial": f"{certificate.serial_number:x}", "until": shown(certificate.not_valid_after_utc)}


def shown(moment: datetime) -> str:
    """A moment as entries have it in their details."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Audit:
    """The record in *folder*. Events are taken at any time, and written down while it is `kept`."""

    def __init__(
        self,
        folder: Path,
        now: Callable[[], datetime] = utc_now,
        *,
        limits: Limits = Limits(),  # noqa: B008 (it is frozen)
        thrift: Thrift | None = None,
    ) -> None:
        self.folder = folder
        self.trouble = ""
        """Why nothing can be written down at the moment; empty if all is well."""
        self._now = now
        self._limits = limits
        self._thrift = thrift or Thrift()
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._changed = Condition()
        self._closing = False

    def record(self, action: str, subject: str, *, actor: str = "", **details: str) -> None:
        """Write down that *actor* did *action* to *subject*. Never waits, and never fails.

        No secrets: neither tokens nor keys. Texts longer than 1,000 characters are cut.
        """
        with self._changed:
            self._take(self._thrift.passed(Event(self._now(), action, subject, actor, details)))

    @property
    def waiting(self) -> tuple[Event, ...]:
        """What is not on the disk yet."""
        with self._changed:
            return tuple(self._waiting)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write down what happens until the block is left, and then what is left to write."""
        thread = Thread(target=self._write_on, name="audit", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._take(self._thrift.told(self._now(), at_end=True))
                self._closing = True
                self._changed.notify_all()
            thread.join()
            self._closing = False

    def settle(self, seconds: float = 10.0) -> bool:
        """Wait until all is on the disk that has happened so far; says whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def _take(self, events: Iterator[Event]) -> None:
        for event in events:
            if len(self._waiting) >= _MOST_WAITING:
                self._lost += 1
            else:
                self._waiting.append(event)
        self._changed.notify_all()

    def _write_on(self) -> None:
        """Write down what waits, for as long as we are to: the thread."""
        journal: Journal | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, _TICK_SECONDS)
                self._take(self._thrift.told(self._now()))
                batch, closing = tuple(self._waiting), self._closing
            try:
                journal = journal or Journal.open(self.folder, self._now(), self._limits)
                if batch:
                    journal.append(batch)
            except (OSError, FederationError) as error:
                if journal is not None:
                    journal.close()
                    journal = None
                self._failed(error)
                if closing:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _RETRY_SECONDS)
                continue
            self._written(batch)
            if closing:
                journal.close()
                return

    def _written(self, batch: tuple[Event, ...]) -> None:
        if self.trouble:
            log.info("audit record written again")
            self.trouble = ""
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
            lost, self._lost = self._lost, 0
            if lost:
                self._waiting.append(Event(self._now(), LOST, "*", details={"count": str(lost)}))
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        reason = str(error)
        if reason != self.trouble:
            log.error("audit record not written", reason=reason, waiting=len(self._waiting))
        self.trouble = reason
