"""What /proc says: the processor time and memory of programs, how busy the machine is, and what it is."""

import asyncio
import os
import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.report import Json
from gateway.binary import find_envoy

_TICKS: Final = os.sysconf("SC_CLK_TCK")

# Tunnels of callers that are gone are closed within two seconds.
_SETTLED_WITHIN: Final = 5.0
_LOOK_EVERY: Final = 0.75
_IDLE: Final = 0.05  # of one processor: Envoys that have nothing to do look at their timers


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time in seconds, of programs or of the kernel on their behalf."""

    user: float
    kernel: float

    @property
    def all(self) -> float:
        """Both."""
        return self.user + self.kernel

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.user - earlier.user, self.kernel - earlier.kernel)


def cpu(pids: Iterable[int]) -> Cpu:
    """What all threads of *pids* have used until now."""
    user = kernel = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, kernel = user + int(fields[11]), kernel + int(fields[12])
    return Cpu(user / _TICKS, kernel / _TICKS)


async def settled(pids: Sequence[int]) -> Cpu:
    """What *pids* have used when nothing is left to do of what was asked of them.

    What a proxy clears away afterwards is a part of what a call costs, and not of what is measured next.
    """
    now, deadline = cpu(pids), time.monotonic() + _SETTLED_WITHIN
    while pids and time.monotonic() < deadline:
        before = now
        await asyncio.sleep(_LOOK_EVERY)
        now = cpu(pids)
        if (now - before).all <= _IDLE * _LOOK_EVERY:
            break
    return now


def resident_kib(pid: int) -> float:
    """Memory that *pid* occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1024


def load() -> float:
    """How many programs wanted to run during the last minute."""
    return os.getloadavg()[0]


def machine() -> dict[str, Json]:
    """The machine and the versions: what every figure has to be read with."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fedgate": version("fedgate"),
        "envoy": _first_line([str(find_envoy()), "--version"]).rpartition("version: ")[2].split("/")[1],
        "haproxy": _version("haproxy", "-v"),
        "wrk": _version("wrk", "-v"),
    }


def _version(program: str, option: str) -> str:
    """The number in what a program says of itself."""
    if shutil.which(program) is None:
        return "missing"
    words = _first_line([program, option]).split()
    return next((word for word in words if any(letter.isdigit() for letter in word)), "?")


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].strip() if lines else ""
