"""`fedgate check`: the checks of the hub and of the agent that are here, with what to do about each."""

import time
from collections.abc import Callable
from datetime import timedelta

import click

from federation.client import Admin
from federation.commands.answers import records
from federation.commands.options import Duration, Side, admin_options, named_or_here, output_option
from federation.errors import Exit, FederationError, NobodyHere
from federation.output import Output
from federation.table import Json, Record, text

_SECOND = 1.0


@click.command()
@click.option("--wait", type=Duration(), default="0s", help="Try again for so long while something fails.")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def check(wait: timedelta, output: Output) -> int:
    """Check that everything is as it should be.

    Asks the hub and the agent on this machine, or those that are named. Exits with 1 when a check
    fails; a warning is no failure.
    """
    admins = named_or_here()
    if not admins:
        raise NobodyHere
    results = settled(
        lambda: [checked(admin) for admin in admins], wait.total_seconds(), time.monotonic, time.sleep
    )
    failed = [result for result in results if result["status"] == "fail"]
    if output.for_machines:
        listed: list[Json] = [*results]
        output.document({"ok": not failed, "checks": listed})
    else:
        output.lines(_report(results, output))
    return Exit.CHECK_FAILED if failed else Exit.OK


def settled(
    look: Callable[[], list[list[Record]]],
    wait: float,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> list[Record]:
    """Look again every second until nothing fails or *wait* seconds are over."""
    deadline = clock() + wait
    while True:
        results = [result for side in look() for result in side]
        left = deadline - clock()
        if left <= 0 or not any(result["status"] == "fail" for result in results):
            return results
        pause(min(_SECOND, left))


def checked(admin: Admin) -> list[Record]:
    """What one side says of itself; that it says nothing is a failed check too."""
    who = admin.where.who
    try:
        found = records(admin.get("/v1/check"), "checks")
    except FederationError as error:
        return [_result(who, f"the {who} answers", "fail", str(error), error.hint)]
    answers = _result(who, f"the {who} answers", "ok", str(admin.where), "")
    return [answers, *({"of": who, "status": "fail", **check} for check in found)]


def _result(who: str, name: str, status: str, detail: str, hint: str) -> Record:
    return {"of": who, "name": name, "status": status, "detail": detail, "hint": hint}


def _report(results: list[Record], output: Output) -> list[str]:
    """A line for each check, its hint below it if it is not well, and the sum at the end."""
    lines: list[str] = []
    for result in results:
        heading = text(result.get("of"))
        if heading not in lines and output.bold(heading) not in lines:
            lines += [*([""] if lines else []), output.bold(heading)]
        status = text(result.get("status"))
        detail = f": {text(result['detail'])}" if result.get("detail") else ""
        lines.append(f"{output.mark(status)} {text(result.get('name'))}{detail}")
        if status != "ok" and result.get("hint"):
            lines.append(f"    {text(result['hint'])}")
    return [*lines, "", _sum([text(result.get("status")) for result in results], output)]


def _sum(statuses: list[str], output: Output) -> str:
    failed, warned = statuses.count("fail"), statuses.count("warn")
    verdict = "fail" if failed else "warn" if warned else "ok"
    words = f"{failed} failed, {warned} warned, {len(statuses) - failed - warned} ok"
    return f"{output.mark(verdict)} {words}"
