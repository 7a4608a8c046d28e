"""`make bench`, or `python -m bench.run [--only NAME] [--rounds N] [--quick]`: measure, and tell.

Figures go to bench/results as JSON and as a table. Ratios are taken within a round, and rounds are
interleaved, so they stand up to a busy machine better than the figures do.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop

from bench import change, dns, growth, hub, issuance, measure, start, stores, traffic
from bench.report import Report
from federation.errors import NamespacesUnavailable

_RESULTS: Final = Path(__file__).parent / "results"

Bench = Callable[[Report, int, bool], Awaitable[None]]

BENCHES: Final[dict[str, Bench]] = {
    "change": change.measure_changes,
    "dns": dns.measure_dns,
    "growth": growth.measure_growth,
    "hub": hub.measure_hub,
    "issuance": issuance.measure_issuance,
    "start": start.measure_start,
    "stores": stores.measure_stores,
    "tls": growth.measure_tls,
    "traffic": traffic.measure_traffic,
}


def main() -> None:
    """Run what is asked for, print the table, and keep both forms of it."""
    parser = argparse.ArgumentParser(description="Measure fedgate beside what could stand in its place.")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), help="leave out all others")
    parser.add_argument("--rounds", type=int, default=5, help="visits to each way (default 5)")
    parser.add_argument("--quick", action="store_true", help="short visits: to see that it works")
    told = parser.parse_args()
    report, failed = Report(measure.machine()), False
    for name, bench in BENCHES.items():
        if told.only and name not in told.only:
            continue
        print(f"measuring {name} …", flush=True)
        try:
            uvloop.run(_run(bench, report, told.rounds, told.quick))
        except NamespacesUnavailable as error:
            report.skip(name, str(error))
        except Exception as error:  # what else was measured is worth having
            traceback.print_exc()
            report.skip(name, f"failed: {error!r}")
            failed = True
    print(f"\n{report.to_markdown()}")
    _RESULTS.mkdir(exist_ok=True)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}" + ("-quick" if told.quick else "")
    (_RESULTS / f"{name}.json").write_text(json.dumps(report.to_json(), indent=1) + "\n")
    (_RESULTS / f"{name}.md").write_text(report.to_markdown())
    print(f"kept in {_RESULTS}/{name}.json and .md")
    sys.exit(failed)


async def _run(bench: Bench, report: Report, rounds: int, quick: bool) -> None:
    await bench(report, rounds, quick)


if __name__ == "__main__":
    main()
