"""The demo from the first line to the last: check, set up, play a scenario, report, stay up, clean up."""

import json
import os
import shlex
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from federation.demo.backstage import Ended, cleaning_up, folder_for, make_world
from federation.demo.calls import connect_to, resolve, url
from federation.demo.fleet import Fleet
from federation.demo.scenario import Report
from federation.demo.scenarios import PROGRAMS, SCENARIOS, SHAPES
from federation.demo.stage import Stage
from federation.demo.world import Shape, Site
from federation.errors import CannotDemonstrate, StepFailed
from federation.output import Format, Output, detect_terminal

_LIBRARIES = ("hypercorn", "httpx", "h2", "websockets")


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
    _check_prerequisites(settings.scenario)
    talk = sys.stderr if settings.output_json else sys.stdout
    stage = Stage(talk, Output(Format.TABLE, detect_terminal(talk, os.environ)))
    report = Report(settings.scenario)
    try:
        with cleaning_up() as stack:
            stage.say("fedgate demo: a hub and two clusters, on this machine", "")
            fleet = _set_up(settings, stage, stack, report)
            try:
                SCENARIOS[settings.scenario](fleet, stage, report)
                report.finished = True
            except StepFailed as failure:
                show_failure(stage, failure, settings)
            _summarize(stage, report, time.perf_counter() - began)
            if settings.output_json:
                print(json.dumps(report.document(time.perf_counter() - began), indent=2), flush=True)
            if report.finished and not settings.once:
                _stay(fleet, stage)
    except (KeyboardInterrupt, Ended):
        stage.say("", f"Ended. {_left(settings)}")
    return 0 if report.ok else 1


# --- setting up ---------------------------------------------------------------------------------


def _check_prerequisites(scenario: str) -> None:
    """Refuse before anything is made when something is missing that cannot be done without."""
    from gateway.binary import find_envoy

    find_envoy()
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise CannotDemonstrate(
            f"not installed: {', '.join(missing)}", "`pip install 'fedgate[demo]'` brings what the demo needs"
        )
    for program, where in PROGRAMS.get(scenario, {}).items():
        if shutil.which(program) is None:
            raise CannotDemonstrate(f"the scenario {scenario} needs {program}, which is not installed", where)


def _set_up(settings: DemoSettings, stage: Stage, stack: ExitStack, report: Report) -> Fleet:
    """Make the folder, the world and the fleet; *stack* takes them apart again."""
    folder = stack.enter_context(folder_for(settings.state))
    world = make_world(folder, stage, stack, SHAPES.get(settings.scenario, Shape()))
    report.mode = world.mode
    fleet = Fleet(world, folder)
    stack.callback(fleet.stop)
    return fleet


# --- reporting ----------------------------------------------------------------------------------


def _summarize(stage: Stage, report: Report, seconds: float) -> None:
    """One line: how many of the calls were right."""
    good, tried = sum(made.ok for made in report.calls), len(report.calls)
    if report.load:
        good, tried = good + report.load.total - report.load.failed, tried + report.load.total
    text = f"{good} of {tried} calls went as they should" if tried else "it did not come to a call"
    stage.say("")
    stage.result(report.ok, text, f"{seconds:.1f} s")
    for problem in report.problems:
        stage.note(problem)


def show_failure(stage: Stage, failure: StepFailed, settings: DemoSettings) -> None:
    """Say what went wrong, and what the one to blame wrote last."""
    stage.say("", str(failure))
    if failure.log:
        stage.say("its log ends with:")
        for line in failure.log.splitlines():
            stage.note(_readable(line))
    kept = settings.state
    stage.say(f"all logs are in {kept}/logs" if kept else "`fedgate demo --state DIR` keeps all logs")


def _readable(line: str) -> str:
    """A line of a log as people read it: level, event, and the rest as KEY=VALUE."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict) or not {"level", "event"} <= said.keys():
        return line
    rest = (
        f"{key}={value}" for key, value in said.items() if key not in ("time", "level", "logger", "event")
    )
    return " ".join([f"{said['level']}: {said['event']}", *rest])


def _stay(fleet: Fleet, stage: Stage) -> None:
    """Say what can be tried, and wait for Ctrl-C."""
    stage.heading("It stays up. Try this in another terminal:")
    onprem, cloud = fleet.world.sites
    for caller, callee in ((onprem, cloud), (cloud, onprem)):
        name = callee.service.dns_name
        dialled = None if caller.resolves else resolve(caller, name).addresses[0]
        stage.say(f"  # {caller.workload}@{caller.cluster} calls {callee.answers_as}")
        stage.say(f"  {_line(caller, ['curl', *connect_to(dialled), url(name, callee.ports.http)])}")
    fedgate = _fedgate()
    stage.say("  # what the hub and onprem's agent know")
    stage.say(f"  export FEDGATE_HUB={fleet.hub_state} FEDGATE_AGENT={fleet.agent_state(onprem)}")
    for words in ("clusters", "services", f"resolve {cloud.service.dns_name}", "gateways sync", "check"):
        stage.say(f"  {fedgate} {words}")
    stage.say("", "Ctrl-C ends everything.")
    while True:
        signal.pause()


def _line(site: Site, argv: list[str]) -> str:
    """The line that runs *argv* on the caller's machine."""
    return shlex.join(site.caller.command(argv))


def _fedgate() -> str:
    """The command as it can be typed here."""
    beside = Path(sys.executable).with_name("fedgate")
    return "fedgate" if shutil.which("fedgate") or not beside.exists() else str(beside)


def _left(settings: DemoSettings) -> str:
    return f"Its state is in {settings.state}." if settings.state else "Nothing is left behind."
