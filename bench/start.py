"""How long a command takes that does next to nothing, and a bare Python beside it."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.report import Aim, Key, Report

TOPIC: Final = "start of a command"


async def measure_start(report: Report, rounds: int, quick: bool) -> None:
    """Start each in turn."""
    fedgate = str(Path(sys.executable).parent / "fedgate")
    ways = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "fedgate --version": [fedgate, "--version"],
        "fedgate clusters --help": [fedgate, "clusters", "--help"],
    }
    for _ in range(3 if quick else 4 * rounds):
        for way, argv in ways.items():
            started = time.perf_counter()
            await asyncio.to_thread(subprocess.run, argv, check=True, capture_output=True)
            report.add(Key(TOPIC, way, "time", "ms"), (time.perf_counter() - started) * 1e3)
    report.aims.append(Aim("start of a command", Key(TOPIC, "fedgate --version", "time", "ms"), 150.0))
