"""The demo from the first line to the last: check, set up, play a scenario, report, stay up, clean up."""

import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from federation.demo.calls import connect_to, resolve, url
from federation.demo.fleet import Fleet
from federation.demo.scenario import SCENARIOS, Report
from federation.demo.stage import Stage
from federation.demo.topology import Lab
from federation.demo.world import Site, World, in_namespaces, on_loopback
from federation.errors import CannotDemonstrate, LabError, StepFailed
from federation.output import Format, Output, detect_terminal

_LIBRARIES = ("hypercorn", "httpx", "h2", "websockets")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What to show and how.

    `once` ends after the report. `output_json` prints that as one object on stdout, and talks on
    stderr. With `state` everything is kept in that folder, which must be new or empty.
    """

    once: bool = False
    output_json: bool = False
    state: Path | None = None
    scenario: str = "calls"


def run(settings: DemoSettings) -> int:
    """Show the demo; return 0 when everything was as it should be, and 1 when not.

    However it ends, nothing of it is left: no process, socket or namespace, and no folder unless
    `state` asks for it. Raises CannotDemonstrate and EnvoyNotFound before anything is made.
    """
    began = time.perf_counter()
    _check_prerequisites()
    talk = sys.stderr if settings.output_json else sys.stdout
    stage = Stage(talk, Output(Format.TABLE, detect_terminal(talk, os.environ)))
    report = Report(settings.scenario)
    try:
        with _cleaning_up() as stack:
            stage.say("fedgate demo: a hub and two clusters, on this machine", "")
            fleet = _set_up(settings, stage, stack, report)
            try:
                SCENARIOS[settings.scenario](fleet, stage, report)
                report.finished = True
            except StepFailed as failure:
                _show_failure(stage, failure, settings)
            _summarize(stage, report, time.perf_counter() - began)
            if settings.output_json:
                print(json.dumps(report.document(time.perf_counter() - began), indent=2), flush=True)
            if report.finished and not settings.once:
                _stay(fleet, stage)
    except (KeyboardInterrupt, _Ended):
        stage.say("", f"Ended. {_left(settings)}")
    return 0 if report.ok else 1


class _Ended(BaseException):
    """A signal other than Ctrl-C's told us to end."""


@contextmanager
def _cleaning_up() -> Iterator[ExitStack]:
    """A stack that is taken down however we are told to end, once, and without being disturbed."""

    def end(*_: object) -> None:
        raise _Ended

    before = {number: signal.getsignal(number) for number in _ENDINGS}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    stack = ExitStack()
    try:
        yield stack
    finally:
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        stack.close()
        for number, handler in before.items():
            signal.signal(number, handler)


# --- setting up ---------------------------------------------------------------------------------


def _check_prerequisites() -> None:
    """Refuse before anything is made when something is missing that cannot be done without."""
    from gateway.binary import find_envoy

    find_envoy()
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise CannotDemonstrate(
            f"not installed: {', '.join(missing)}", "`pip install 'fedgate[demo]'` brings what the demo needs"
        )


def _set_up(settings: DemoSettings, stage: Stage, stack: ExitStack, report: Report) -> Fleet:
    """Make the folder, the world and the fleet; *stack* takes them apart again."""
    folder = stack.enter_context(_folder(settings.state))
    world = _world(folder, stage, stack)
    report.mode = world.mode
    fleet = Fleet(world, folder)
    stack.callback(fleet.stop)
    return fleet


@contextmanager
def _folder(state: Path | None) -> Iterator[Path]:
    """A folder for everything: *state* if given, which stays, else one that goes."""
    if state is not None:
        folder = state.resolve()
        if folder.exists() and any(folder.iterdir()):
            raise CannotDemonstrate(f"{folder} is not empty", "give --state a new folder")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="fedgate-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _world(folder: Path, stage: Stage, stack: ExitStack) -> World:
    """Hosts of their own where that may be, else this machine's loopback; and say which, and why."""
    hosts = folder / "hosts"
    hosts.mkdir()
    reason: LabError | None = None
    with stage.step("making hosts") as step:
        try:
            with ExitStack() as attempt:
                lab = attempt.enter_context(Lab(hosts))
                world = in_namespaces(lab)
                stack.push(attempt.pop_all())
            step.says = f"7 hosts, as network namespaces made {'by' if lab.privileged else 'without'} root"
        except LabError as error:
            reason = error
            world = on_loopback()
            step.says = f"everything on this machine, at addresses like {world.hub_address}"
    if reason:
        stage.note(f"{reason}. So names do not resolve by themselves: callers ask the agent's DNS.")
    return world


# --- reporting ----------------------------------------------------------------------------------


def _summarize(stage: Stage, report: Report, seconds: float) -> None:
    """One line: how many of the calls were right."""
    good = sum(made.ok for made in report.calls)
    stage.say("")
    stage.result(report.ok, f"{good} of {len(report.calls)} calls went as they should", f"{seconds:.1f} s")


def _show_failure(stage: Stage, failure: StepFailed, settings: DemoSettings) -> None:
    """Say what went wrong, and what the one to blame wrote last."""
    stage.say("", str(failure))
    if failure.log:
        stage.say("its log ends with:", *(f"    {line}" for line in failure.log.splitlines()))
    kept = settings.state
    stage.say(f"all logs are in {kept}/logs" if kept else "`fedgate demo --state DIR` keeps all logs")


def _stay(fleet: Fleet, stage: Stage) -> None:
    """Say what can be tried, and wait for Ctrl-C."""
    stage.heading("It stays up. Try this in another terminal:")
    onprem, cloud = fleet.world.sites
    for caller, callee in ((onprem, cloud), (cloud, onprem)):
        name = callee.service.dns_name
        dialled = None if caller.resolves else resolve(caller, name).addresses[0]
        stage.say(f"  # {caller.workload}@{caller.cluster} calls {callee.answers_as}")
        stage.say(f"  {_line(caller, ['curl', *connect_to(dialled), url(name, callee.ports.http)])}")
    agent = ["--agent", str(fleet.agent_state(onprem))]
    stage.say("  # what the hub and the agent know")
    for words in (
        ["clusters", "--hub", str(fleet.hub_state)],
        ["services", "--hub", str(fleet.hub_state)],
        ["resolve", cloud.service.dns_name, *agent],
        ["gateways", "sync", *agent],
        ["check", *agent],
    ):
        stage.say(f"  {shlex.join(['fedgate', *words])}")
    stage.say("", "Ctrl-C ends everything.")
    while True:
        signal.pause()


def _line(site: Site, argv: list[str]) -> str:
    """The line that runs *argv* on the caller's machine."""
    return shlex.join(site.caller.command(argv))


def _left(settings: DemoSettings) -> str:
    return f"Its state is in {settings.state}." if settings.state else "Nothing is left behind."
