"""A machine at whose shell somebody types: for tests of what people do, line by line."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from federation.demo.process import Process
from federation.demo.topology import Host


class Machine:
    """A host with a shell: each machine has its own home, and `fedgate` on its path."""

    def __init__(self, host: Host, folder: Path) -> None:
        folder.mkdir()
        binaries = Path(sys.executable).parent
        path = f"{binaries}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
        self.host = host
        self.folder = folder
        self._environment = {"FEDGATE_HOME": str(folder / "state"), "PATH": path, "HOME": str(folder)}

    def type(self, line: str) -> str:
        """Type a line and wait for its end; what it printed."""
        shell = ["sh", "-c", f"cd {self.folder} && {line}"]
        return self.host.run(shell, environment=self._environment).stdout

    def type_in_background(self, line: str) -> Process:
        """Type a line that ends in `&`."""
        shell = ["sh", "-c", f"cd {self.folder} && exec sh -c '{line.removesuffix('&').strip()}'"]
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        return self.host.start(shell, log=log, environment=self._environment)


def minted(hub: Machine, line: str) -> str:
    """The token in the line that the hub prints to be pasted."""
    said = hub.type(line)
    assert said.startswith("echo fgj1.")
    assert said.rstrip().endswith("| fedgate join")
    return said.split()[1]


def eventually(ask: Callable[[], str]) -> str:
    """Ask until there is an answer: programs that were started in the background take a moment."""
    deadline = monotonic() + 30
    while True:
        try:
            return ask()
        except Exception:
            if monotonic() > deadline:
                raise
            sleep(0.1)
