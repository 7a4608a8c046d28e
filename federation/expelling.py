"""A gateway's process ends the connections that the revoked have open at its ingress, whoever they came by.

Who has stolen a workload's key dials any ingress. New streams of a revoked identity are refused by the
configuration. What such a one has open is found by what the ingress wrote down at each tunnel's opening.
"""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Final

from federation.log import Log
from gateway.errors import CannotSever, EnvoyFailed
from gateway.holders import Holders
from gateway.sever import connections, sever
from gateway.tunnel_log import TunnelLog

log = Log(__name__)

# A tunnel that opened just before it would have been refused is found by the next look.
_PAUSE: Final = 1.0
# All connections are looked through so seldom, as long as nobody is revoked who may have one.
_REVIEW: Final = 10.0


class Expelling:
    """Expels the revoked from the Envoy whose process id *envoy* says, and which writes to *tunnels*."""

    def __init__(self, tunnels: TunnelLog, envoy: Callable[[], int | None]) -> None:
        self._tunnels = tunnels
        self._envoy = envoy
        self._holders = Holders()
        self._revoked: frozenset[str] = frozenset()
        self._news, self._stop = Event(), Event()
        self._reviewed = 0.0
        self._trouble = ""

    def __enter__(self) -> "Expelling":
        """Look from now on, in a thread."""
        Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._stop.set()
        self._news.set()

    def expel(self, revoked: frozenset[str]) -> None:
        """Have the SPIFFE IDs *revoked*, and no others, no connection from now on."""
        self._revoked = revoked
        self._news.set()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._news.clear()
            try:
                self._look()
            except CannotSever as error:
                self._complain("open connections of the revoked stay", error.reason)
            except (EnvoyFailed, OSError) as error:
                self._complain("not known whose connections are", str(error))
            else:
                self._trouble = ""
            self._news.wait(_PAUSE)
        self._tunnels.close()

    def _look(self) -> None:
        if (pid := self._envoy()) is None:  # what is in the file may be left of another one
            return
        self._holders.learn(self._tunnels.read())
        revoked = self._revoked
        wanted = bool(revoked) and self._holders.holds_any(revoked)
        due = self._holders.unseen and monotonic() - self._reviewed > _REVIEW
        if not (wanted or due):
            return
        self._reviewed = monotonic()
        self._holders.see({c.ends: c.inode for c in connections(pid) if c.accepted and c.inode != "0"})
        doomed = self._holders.sockets_of(revoked)
        if doomed and (ended := sever(pid, lambda c: c.accepted and c.inode in doomed)):
            log.warning("connections of the revoked ended", count=ended)

    def _complain(self, event: str, reason: str) -> None:
        """Say it, unless it was the same the last time."""
        if reason != self._trouble:
            self._trouble = reason
            log.error(event, reason=reason)
