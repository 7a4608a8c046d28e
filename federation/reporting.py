"""A gateway's reports to its agent, beside Envoy: every second, and at once when something has changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import msgspec

from clusters.enrol import Enrolled
from clusters.enrol import report as report_enrolled
from clusters.errors import ClusterError
from clusters.reports import EVERY, Phase, Probe, Report, ReportAnswer
from federation.client import Admin, endpoint
from federation.errors import FederationError
from federation.log import Log
from gateway.errors import CannotSever, EnvoyFailed
from gateway.sever import check_allowed
from pki import keystore
from pki.authority import from_pem
from pki.errors import PkiError
from pki.succession import bundle_hash

log = Log(__name__)

ADMIN_PATH: Final = "/v1/gateway-reports"
_TIMEOUT: Final = 2.0

Tell = Callable[[Report], ReportAnswer]
Look = Callable[[], tuple[Probe, ...]]


def to_agent_beside(socket: Path) -> Tell:
    """Reports to the agent of this machine, whose admin socket is *socket*."""
    admin = Admin(endpoint("agent", str(socket)), _TIMEOUT)

    def tell(report: Report) -> ReportAnswer:
        body = msgspec.to_builtins(report)
        return msgspec.convert(admin.post(ADMIN_PATH, body), ReportAnswer)

    return tell


def to_agent_elsewhere(enrolled: Enrolled, renew: Callable[[], None]) -> Tell:
    """Reports by the certificate of an enrolled gateway, whichever is on the disk at that time.

    It has that renewed when the agent has other roots than are there.
    """

    def tell(report: Report) -> ReportAnswer:
        held = bundle_hash(from_pem(keystore.read(enrolled.roots_file)))
        answer = report_enrolled(
            enrolled.state, msgspec.structs.replace(report, roots=held), timeout=_TIMEOUT
        )
        if answer.roots not in ("", held):
            renew()
        return answer

    return tell


class Reporter:
    """Says how a gateway is, as a `gateway.proxy.Witness`; an agent that does not hear is told again.

    *look* gives what it has found out about other gateways, or raises EnvoyFailed; only while Envoy is up.
    `envoy` is the process id of the Envoy that is up.
    """

    def __init__(self, tell: Tell, first: Report, look: Look = tuple) -> None:
        self._tell = tell
        self._look = look
        self._report = first
        self._one_at_a_time = Lock()
        self._due, self._stop = Event(), Event()
        self._heard = True
        self.envoy: int | None = None

    def __enter__(self) -> "Reporter":
        """Report from now on, in a thread: nothing that the agent does may hold Envoy's supervisor up."""
        Thread(target=self._repeat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Say that it has ended, and no more."""
        self._stop.set()
        self._report = replace_phase(self._report, Phase.ENDED)
        self._say()

    def up(self, pid: int) -> None:
        """Envoy, the process *pid*, takes calls."""
        self.envoy = pid
        up = replace_phase(self._report, Phase.UP)
        self._change(msgspec.structs.replace(up, cannot_sever=_cannot_sever(pid)))

    def failed(self, restarts: int, how: str) -> None:
        """Envoy has ended by itself, for the *restarts*-th time, and is started again."""
        self.envoy = None
        self._change(
            msgspec.structs.replace(self._report, phase=Phase.FAILED, restarts=restarts, last_end=how)
        )

    async def leaving(self) -> None:
        """It will take no new calls soon; returns when callers have had the time to go elsewhere."""
        self._report = replace_phase(self._report, Phase.DRAINING)
        answer = await asyncio.to_thread(self._say)
        await asyncio.sleep(answer.settle_seconds)

    def _change(self, report: Report) -> None:
        self._report = report
        self._due.set()

    def _repeat(self) -> None:
        while not self._stop.is_set():
            self._say()
            self._due.wait(EVERY)
            self._due.clear()

    def _say(self) -> ReportAnswer:
        """Report once. The log hears of it when the agent stops hearing, and when it hears again."""
        with self._one_at_a_time:
            try:
                answer = self._tell(msgspec.structs.replace(self._report, probes=self._probes()))
            except (FederationError, ClusterError, PkiError, OSError, msgspec.ValidationError) as error:
                if self._heard:
                    log.warning("agent does not hear how the gateway is", reason=str(error))
                self._heard = False
                return ReportAnswer()
            if not self._heard:
                log.info("agent hears how the gateway is")
            self._heard = True
            return answer

    def _probes(self) -> tuple[Probe, ...]:
        """What Envoy has found out, or nothing of an Envoy that does not answer."""
        if self._report.phase is not Phase.UP:
            return ()
        try:
            return self._look()
        except EnvoyFailed as error:
            log.debug("no probes to report", reason=str(error))
            return ()


def _cannot_sever(pid: int) -> str:
    """Why open connections of the Envoy *pid* cannot be ended by us; empty if they can."""
    try:
        check_allowed(pid)
    except CannotSever as error:
        log.warning("connections cannot be ended", reason=error.reason, hint=error.hint)
        return error.reason
    return ""


def replace_phase(report: Report, phase: Phase) -> Report:
    """*report* in another phase."""
    return msgspec.structs.replace(report, phase=phase)
