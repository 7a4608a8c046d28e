"""Hubs as processes of their own, with one etcd and a folder each."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from federation.client import Admin, endpoint
from federation.errors import FederationError
from federation.table import Record, text

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
    def address(self) -> str:
        """Where streams go."""
        return f"127.0.0.1:{self.ports[1]}"

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
    """Ports that nobody takes while a hub is dead: the kernel gives none of these to those who dial."""
    found: set[int] = set()
    while len(found) < 2:
        port = secrets.choice(range(21_000, 31_000))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    join, sync = found
    return join, sync


@dataclass
class OneAgent:
    """The agent of a cluster that joins by the token of some hub."""

    name: str
    home: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def source(self) -> Path:
        return self.home / "source.yaml"

    @property
    def admin(self) -> Admin:
        return Admin(endpoint("agent", str(self.home / "agent")), 10)

    def offer(self, *services: str) -> None:
        """Have these services in namespace `shop`."""
        ports = "ports: [8080], endpoints: [192.0.2.1]"
        entries = [f"{{namespace: shop, name: {service}, {ports}}}" for service in services]
        aside = self.source.with_suffix(".new")
        aside.write_text(f"services: [{', '.join(entries)}]\n")
        aside.replace(self.source)

    def join(self, by: OneHub) -> None:
        """Join with a token that *by* has made, and be connected to some hub."""
        self.home.mkdir()
        self.offer()
        token = self.home / "token"
        token.touch(mode=0o600)
        token.write_text(text(by.admin.post("/v1/tokens", {"cluster": self.name})["token"]))
        words = ["join", "--token-file", str(token), "--source", str(self.source)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*FEDGATE, *words, "--dns-listen", "127.0.0.1:0", "--svid-lifetime", "40s"],
                env=environment(self.home),
                stdout=log,
                stderr=log,
            )
        until(f"{self.name} is connected", lambda: self.connected_to() or None)

    def connected_to(self) -> str:
        """Where the hub is that it is connected to; empty if it is to none."""
        hub = self.admin.get("/v1/status").get("hub")
        assert isinstance(hub, dict)
        return text(hub.get("address")) if hub.get("connected") else ""

    def known(self) -> str:
        """What it keeps on its disk of all that a hub has told."""
        view = self.home / "agent" / "view.json"
        return view.read_text() if view.exists() else ""

    def at(self, *hubs: OneHub) -> OneHub:
        """The one of *hubs* that it is connected to, as soon as it is."""

        def found() -> OneHub | None:
            address = self.connected_to()
            return next((hub for hub in hubs if address == hub.address), None)

        return until(f"{self.name} is connected to one of {[hub.name for hub in hubs]}", found)


@contextmanager
def agents(folder: Path, *names: str) -> Iterator[list[OneAgent]]:
    """Agents that have yet to join."""
    made = [OneAgent(name, folder / name) for name in names]
    try:
        yield made
    finally:
        for each in made:
            if each.process is not None:
                each.process.send_signal(signal.SIGKILL)
                each.process.wait()


def services(hub: OneHub) -> set[str]:
    """The services that *hub* knows."""
    listed = hub.admin.get("/v1/services").get("services")
    assert isinstance(listed, list)
    return {text(service.get("name")) for service in listed if isinstance(service, dict)}


def state(hub: OneHub, cluster: str) -> str:
    """How a cluster stands, as *hub* sees it."""
    listed = hub.admin.get("/v1/clusters").get("clusters")
    assert isinstance(listed, list)
    return next(text(c.get("state")) for c in listed if isinstance(c, dict) and c.get("name") == cluster)
