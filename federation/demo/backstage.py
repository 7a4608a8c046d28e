"""What the demo stands on, and how that is taken down: signals, the folder, the world."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from federation.demo.stage import Stage
from federation.demo.topology import Lab
from federation.demo.world import Shape, World, in_namespaces, on_loopback
from federation.errors import CannotDemonstrate, LabError

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal other than Ctrl-C's told us to end."""


@contextmanager
def cleaning_up() -> Iterator[ExitStack]:
    """A stack that is taken down however we are told to end, once, and without being disturbed."""

    def end(*_: object) -> None:
        raise Ended

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


@contextmanager
def folder_for(state: Path | None) -> Iterator[Path]:
    """A folder for everything: *state* if given, which stays, else one that goes, whatever becomes of us."""
    if state is not None:
        folder = state.resolve()
        if folder.exists() and any(folder.iterdir()):
            raise CannotDemonstrate(f"{folder} is not empty", "give --state a new folder")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="fedgate-demo-"))
    # It waits for the end of its input, which comes when we let go or are killed. A second try is for
    # what our programs, killed with us, wrote during the first.
    remove = 'cat >/dev/null; rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }'
    with subprocess.Popen(
        ["sh", "-c", remove, str(folder)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield folder


def make_world(folder: Path, stage: Stage, stack: ExitStack, shape: Shape) -> World:
    """Hosts of their own where that may be, else this machine's loopback; and say which, and why."""
    hosts = folder / "hosts"
    hosts.mkdir()
    reason: LabError | None = None
    with stage.step("making hosts") as step:
        try:
            with ExitStack() as attempt:
                lab = attempt.enter_context(Lab(hosts))
                world = in_namespaces(lab, shape)
                stack.push(attempt.pop_all())
            step.says = f"{lab.size} hosts, each a network namespace of its own"
            step.says += "" if lab.privileged else ", made without root"
        except LabError as error:
            reason = error
            world = on_loopback(shape)
            step.says = f"everything on this machine, at addresses like {world.hub_address}"
    if reason:
        stage.note(f"{reason}. So names do not resolve by themselves: callers ask the agent's DNS.")
    return world
