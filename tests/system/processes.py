"""A hub and agents as real processes on an address of 127/8 of their own: no gateways, no namespaces."""

import os
import pty
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from federation.client import Admin, endpoint
from federation.commands.answers import record
from federation.demo.fleet import FEDGATE, environment
from federation.demo.process import Process
from federation.errors import FederationError

_PATIENCE = 180.0


class Federation:
    """One hub at *address* and the agents that joined it; *folder* has the state of each."""

    def __init__(self, folder: Path, domain: str, stack: ExitStack) -> None:
        self.folder = folder
        self.domain = domain
        self.environment = environment()
        self.address = f"127.{100 + secrets.randbelow(100)}.{secrets.randbelow(250)}.1"
        self._stack = stack
        folder.mkdir(mode=0o700)

    @property
    def hub_state(self) -> Path:
        """The hub's state, and so its admin socket."""
        return self.folder / "hub"

    @property
    def admin(self) -> Admin:
        """The hub's admin API."""
        return Admin(endpoint("hub", str(self.hub_state)), 10)

    @property
    def hub_options(self) -> list[str]:
        """What each start of the hub is told."""
        options = ["--state", str(self.hub_state), "--domain", self.domain, "--advertise", self.address]
        return [*options, "--listen", f"{self.address}:7443", "--sync-listen", f"{self.address}:7444"]

    def start_hub(self, *options: str) -> Process:
        """Start the hub, and wait until it answers."""
        hub = self._start("hub", ["hub", *self.hub_options, *options])
        self.until("the hub answers", lambda: bool(self.admin.get("/v1/ca")))
        return hub

    def hub_once(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Start the hub for something that ends by itself."""
        return _run(["hub", *self.hub_options, *options])

    def join(self, cluster: str, *options: str) -> Process:
        """Have a cluster join, and run its agent until that is connected."""
        made = msgspec.json.decode(
            self.hub("token", "create", cluster, "-o", "json").stdout, type=dict[str, object]
        )
        token = self.folder / f"{cluster}.token"
        token.touch(mode=0o600)
        token.write_text(str(made["token"]))
        return self.run_agent(cluster, "join", "--token-file", str(token), *options)

    def run_agent(self, cluster: str, command: str, *options: str) -> Process:
        """Run the agent of a cluster by *command* until it is connected."""
        words = [command, "--state", str(self.state(cluster)), "--dns-listen", "127.0.0.1:0", *options]
        agent = self._start(f"{cluster}-agent", words)
        self.until(
            f"{cluster} is connected",
            lambda: record(self.agent(cluster).get("/v1/status")["hub"])["connected"],
        )
        return agent

    def state(self, cluster: str) -> Path:
        """The state of an agent."""
        return self.folder / cluster

    def agent(self, cluster: str) -> Admin:
        """The admin API of an agent."""
        return Admin(endpoint("agent", str(self.state(cluster))), 60)

    def hub(self, *words: str, answer: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command about the hub, with a person who says *answer* at its terminal, or with nobody."""
        asked = [*words, "--hub", str(self.hub_state)]
        if answer is None:
            return _run(asked)
        person, terminal = pty.openpty()
        try:
            os.write(person, f"{answer}\n".encode())
            return _run(asked, terminal)
        finally:
            os.close(person)
            os.close(terminal)

    def until(self, what: str, true: Callable[[], object]) -> None:
        """Wait until *true*; what cannot be asked yet is not."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if true():
                    return
            except FederationError:
                pass
            assert time.monotonic() < deadline, f"waited in vain until {what}: {self._logs()}"
            time.sleep(0.1)

    def _start(self, name: str, words: Sequence[str]) -> Process:
        process = Process(
            [*FEDGATE, *words], name=name, log=self.folder / f"{name}.log", environment=self.environment
        )
        return self._stack.enter_context(process)

    def _logs(self) -> str:
        return "\n".join(log.read_text()[-2000:] for log in sorted(self.folder.glob("*.log")))


def _run(words: Sequence[str], stdin: int = subprocess.DEVNULL) -> "subprocess.CompletedProcess[str]":
    argv = [*FEDGATE, *words]
    return subprocess.run(
        argv, stdin=stdin, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def federation(folder: Path, domain: str = "fed.example") -> Iterator[Federation]:
    """A federation without anybody yet; whatever runs of it is ended when the block is."""
    with ExitStack() as stack:
        yield Federation(folder, domain, stack)
