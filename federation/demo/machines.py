"""What programs run on: a `Host` of the lab, or this machine where no namespaces can be had."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from federation.demo.process import Process


class Machine(Protocol):
    """Something that programs run on: a `Host` of the lab, or `ThisMachine`."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """The words with which one runs *argv* there, by hand."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* to its end."""

    def start(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start *argv* and leave it running."""


class ThisMachine:
    """The machine that we run on, where no namespaces can be had."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """*argv* itself."""
        return list(argv)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* to its end."""
        return subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            env=environment,
        )

    def start(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start *argv*; where the kernel can be asked to, it ends the program when we end."""
        leash = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        return Process([*leash, *argv], name=name or Path(argv[0]).name, log=log, environment=environment)
