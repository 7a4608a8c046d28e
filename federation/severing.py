"""A gateway's process ends the open connections of those that are shut out, as soon as its agent says so.

The configuration takes care of all that is new, and of what others have opened to us: a filter chain that
goes takes its connections with it. What we have opened to others goes on for as long as they like. So
whenever the agent says that something has changed, Envoy is asked to whom it still has a way; what is open
to anybody else is ended.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

import msgspec

from clusters.enrol import Enrolled
from clusters.enrol import notice as notice_enrolled
from clusters.errors import ClusterError
from clusters.reports import Notice, NoticeAsked
from federation.client import Admin, endpoint
from federation.errors import FederationError
from federation.log import Log
from gateway.errors import CannotSever, EnvoyFailed
from gateway.names import host_port
from gateway.probes import Lookout
from gateway.sever import Connection, sever
from pki.errors import PkiError

log = Log(__name__)

ADMIN_PATH: Final = "/v1/gateway-notices"
# Longer than a question is held.
_TIMEOUT: Final = 15.0
_PAUSE: Final = 1.0
# Envoy takes what it is told in its own time, so it is asked several times after a notice; seconds between.
_LOOKS: Final = (0.0, 0.03, 0.05, 0.1, 0.2, 0.4, 0.8)

Ask = Callable[[str], Notice]


def from_agent_beside(socket: Path) -> Ask:
    """Ask the agent of this machine, whose admin socket is *socket*."""
    admin = Admin(endpoint("agent", str(socket)), _TIMEOUT)

    def ask(seen: str) -> Notice:
        return msgspec.convert(admin.post(ADMIN_PATH, msgspec.to_builtins(NoticeAsked(seen))), Notice)

    return ask


def from_agent_elsewhere(enrolled: Enrolled) -> Ask:
    """Ask by the certificate of an enrolled gateway, whichever is on the disk at that time."""
    return lambda seen: notice_enrolled(enrolled.state, seen, timeout=_TIMEOUT)


class Severing:
    """Carries out the notices that *ask* gives, on the Envoy of *lookout*, whose process id *envoy* says.

    Who is revoked is told to *expel*.
    """

    def __init__(
        self,
        ask: Ask,
        envoy: Callable[[], int | None],
        lookout: Lookout,
        expel: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        self._ask = ask
        self._expel = expel
        self._envoy = envoy
        self._lookout = lookout
        self._stop = Event()

    def __enter__(self) -> "Severing":
        """Listen from now on, in a thread: the agent keeps who asks waiting."""
        Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more; not joined, as a question may be waiting."""
        self._stop.set()

    def _listen(self) -> None:
        seen = ""
        while not self._stop.is_set():
            try:
                notice = self._ask(seen)
            except (FederationError, ClusterError, PkiError, OSError, msgspec.ValidationError) as error:
                log.debug("no notice", reason=str(error))  # the reports say so, once, to everybody
                self._stop.wait(_PAUSE)
                continue
            if notice.version != seen:
                seen = notice.version
                self._carry_out(notice)

    def _carry_out(self, notice: Notice) -> None:
        self._expel(frozenset(notice.revoked))
        for pause in _LOOKS:
            if self._stop.wait(pause):
                return
            if (pid := self._envoy()) is not None:
                self._end_on(pid, frozenset(notice.barred))

    def _end_on(self, pid: int, barred: frozenset[str]) -> None:
        try:
            self._lookout.look()
            gone = self._lookout.gone
            ended = sever(pid, lambda connection: _doomed(connection, gone, barred)) if gone or barred else 0
        except EnvoyFailed as error:
            log.debug("Envoy not asked whom it has no way to", reason=str(error))
        except CannotSever as error:
            log.error("open connections stay", reason=error.reason, hint=error.hint)
        else:
            if ended:
                log.warning("connections ended", count=ended)


def _doomed(connection: Connection, gone: frozenset[str], barred: frozenset[str]) -> bool:
    """Whether it is one that we opened to who is gone, or that somebody opened to us who is barred."""
    if connection.accepted:
        return connection.address in barred
    return host_port(connection.address, connection.port) in gone
