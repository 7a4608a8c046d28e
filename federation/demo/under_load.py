"""What scenarios have in common that let something go away while callers call without end."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from federation.demo.fleet import Fleet
from federation.demo.process import Process
from federation.demo.scenario import Report
from federation.demo.stage import Stage
from federation.demo.tally import Killing, Made, Tally, tally
from federation.demo.world import Site
from federation.errors import StepFailed

ENOUGH_CALLS = 2000
ENOUGH_CONNECTIONS = 50.0
_LAST_CALLS_WITHIN = 15.0
_PATIENCE = 60.0
_NEWEST = 20


@dataclass(frozen=True, slots=True)
class Loads:
    """The callers that run, and where each writes its calls."""

    fleet: Fleet
    processes: Sequence[Process]
    logs: Sequence[Path]

    def made(self) -> Tally:
        """What all calls until now come to."""
        return tally([_calls(log) for log in self.logs])

    def lost(self, killings: Sequence[Killing], known_within: float) -> list[Made]:
        """The calls that failed and had not been under way to what was killed."""
        failed = [made for log in self.logs for made in _calls(log) if made.failure]
        return [made for made in failed if not any(made.was_cut_by(k, known_within) for k in killings)]

    def go_on(self, seconds: float) -> None:
        """Let the callers call for a while."""
        ends = time.monotonic() + seconds
        self.wait("callers have called", lambda: time.monotonic() >= ends)

    def until_enough(self, calls: int = ENOUGH_CALLS) -> None:
        """Let the callers call until they have made *calls* calls."""
        self.wait(f"{calls} calls were made", lambda: sum(map(_lines, self.logs)) >= calls)

    def wait(self, what: str, true: Callable[[], bool], patience: float = _PATIENCE) -> None:
        """Let the callers call until something is *true*."""
        self.fleet.wait_for(what, lambda: true() or None, self.processes, patience)

    def newest(self) -> set[str]:
        """Who has answered the newest of the calls that began with a connection of their own."""
        new = [made for log in self.logs for made in _calls(log) if not made.kept and made.answered_by]
        return {made.answered_by for made in new[-_NEWEST:]}

    def finish(self) -> Tally:
        """Have the callers end what they are at."""
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            if status := process.wait(_LAST_CALLS_WITHIN):
                raise StepFailed(f"{process.name} ended with status {status}", process.tail())
        return self.made()


@contextmanager
def load(
    fleet: Fleet,
    stage: Stage,
    report: Report,
    pairs: Sequence[tuple[Site, Site]],
    *,
    kept_seconds: float = 4.0,
    new: float = 30.0,
) -> Iterator[Loads]:
    """Callers that call for as long as the block lasts; what their calls come to is reported.

    Each opens *new* connections a second. Those that are kept are used for *kept_seconds*, and then replaced.
    """
    stage.heading("Callers call without end, in all protocols; nobody tries again")
    loads = Loads(
        fleet,
        [fleet.start_load(*pair, kept_seconds=kept_seconds, new=new) for pair in pairs],
        [fleet.calls_log(*pair) for pair in pairs],
    )
    yield loads
    with stage.step("the callers end") as step:
        report.load = found = loads.finish()
        step.says = f"{found.total} calls in {found.seconds:.1f} s, on {found.new_connections} connections"
    for failure, times in found.failures:
        stage.note(f"{times} failed: {failure}")
    stage.note(f"the longest time that a caller got no answer: {found.longest_gap * 1000:.0f} ms")
    if found.total < ENOUGH_CALLS:
        report.problems.append(f"only {found.total} calls were made, want {ENOUGH_CALLS}")
    if found.connections_per_second < ENOUGH_CONNECTIONS:
        report.problems.append(f"only {found.connections_per_second:.0f} connections a second were opened")


def want_no_failure(report: Report) -> None:
    """Every call has to have succeeded."""
    if report.load and report.load.failed:
        report.problems.append(f"{report.load.failed} calls failed, and none should have")


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _calls(log: Path) -> list[Made]:
    """The log's calls, as far as they are whole."""
    whole, _, _ = (log.read_bytes() if log.exists() else b"").rpartition(b"\n")
    return [Made.parse(line) for line in whole.splitlines()]
