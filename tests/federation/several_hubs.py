"""Hubs as processes of their own, with one etcd and a folder each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from federation.client import Admin, endpoint
from federation.errors import FederationError
from federation.table import Record, text
from tests.federation.registry.etcd_server import free_ports

T = TypeVar("T")

FEDGATE = (sys.executable, "-P", "-m", "federation")
PASSPHRASE = "correct horse"
_PATIENCE = 60.0


def environment(home: Path, passphrase: str = PASSPHRASE) -> dict[str, str]:
    """What a `fedgate` with its folders in *home* is to see."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEDGATE_")}
    return {**kept, "FEDGATE_HOME": str(home), "FEDGATE_PASSPHRASE": passphrase}


def until(what: str, probe: Callable[[], T | None], patience: float = _PATIENCE) -> T:
    """Ask *probe* until it gives something; one that cannot be asked yet is asked again."""
    deadline = time.monotonic() + patience
    while True:
        try:
            if (found := probe()) is not None:
                return found
        except FederationError as error:
            what = f"{what} ({error})" if time.monotonic() > deadline else what
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


@dataclass
class OneHub:
    """One hub: its folder, its ports, and its process."""

    name: str
    home: Path
    store: str
    ports: tuple[int, int] = field(default_factory=lambda: _two())
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.home / "hub"

    @property
    def admin(self) -> Admin:
        return Admin(endpoint("hub", str(self.state)), 10)

    def start(self) -> None:
        """Run it, and wait until it is ready."""
        self.home.mkdir(exist_ok=True)
        join, sync = self.ports
        options = ["--listen", f"127.0.0.1:{join}", "--sync-listen", f"127.0.0.1:{sync}", "--name", self.name]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*FEDGATE, "hub", "--store", self.store, *options],
                env=environment(self.home),
                stdout=log,
                stderr=log,
            )
        until(f"hub {self.name} is ready", lambda: self.seen() or None)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; a deadly one has worked when this returns."""
        assert self.process is not None
        self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(30)
            self.process = None

    def seen(self) -> list[Record]:
        """The hubs that it knows."""
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "log").read_text()
        hubs = self.admin.get("/v1/hubs").get("hubs")
        return [hub for hub in hubs if isinstance(hub, dict)] if isinstance(hubs, list) else []

    def leader(self) -> str | None:
        """The hub that is elected, as this one knows it."""
        return next((text(hub.get("name")) for hub in self.seen() if hub.get("leader")), None)

    def names(self) -> list[str]:
        """The hubs that run, as this one knows it."""
        return [text(hub.get("name")) for hub in self.seen()]


@contextmanager
def hubs(folder: Path, store: str, names: str = "abc") -> Iterator[list[OneHub]]:
    """Hubs of these names, of which the first is elected."""
    made = [OneHub(name, folder / name, store) for name in names]
    try:
        for each in made:
            each.start()
        yield made
    finally:
        for each in made:
            if each.process is not None:
                each.signal(signal.SIGCONT)
                each.signal(signal.SIGKILL)


def _two() -> tuple[int, int]:
    join, sync = free_ports(2)
    return join, sync
