"""`fedgate rotate`: have the hub and the agent that are here renew what is due."""

import click

from federation.client import Admin
from federation.commands.answers import records
from federation.commands.options import Side, admin_options, named_or_here, output_option
from federation.errors import Exit, NobodyHere
from federation.output import Output
from federation.table import Json, Record, text

_KEYS = ("done", "due", "lagging", "failed")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is due.")
@click.option("--force", is_flag=True, help="Renew everything, due or not.")
@admin_options(Side.HUB, Side.AGENT, timeout="60s")
@output_option
def rotate(dry_run: bool, force: bool, output: Output) -> int:
    """Renew the certificates that are due at the hub or agent here.

    Without --hub and --agent both are asked, if both run on this machine. They do so by themselves
    too: this is for whoever wants to know, from cron or a timer, that it has been done. Run it as
    often as you like. Exits with 1 if something could not be renewed, or somebody has not
    acknowledged a new issuing CA yet.
    """
    admins = named_or_here()
    if not admins:
        raise NobodyHere
    asked = {"dry_run": dry_run, "force": force}
    answers = [(admin, admin.post("/v1/rotate", asked)) for admin in admins]
    stuck = [answer for _, answer in answers if answer.get("failed") or answer.get("lagging")]
    if output.for_machines:
        output.document({"ok": not stuck, **{key: _together(answers, key) for key in _KEYS}})
    else:
        output.lines([line for admin, answer in answers for line in _report(admin, answer, output, dry_run)])
    return Exit.CHECK_FAILED if stuck else Exit.OK


def _together(answers: list[tuple[Admin, Record]], key: str) -> Json:
    return [{"of": admin.where.who, **item} for admin, answer in answers for item in records(answer, key)]


def _report(admin: Admin, answer: Record, output: Output, dry_run: bool) -> list[str]:
    """A line for each certificate: what has become of it, and what to do."""
    who = admin.where.who
    lines = [f"{output.mark('ok')} {who}: renewed {_named(item)}" for item in records(answer, "done")]
    mark = output.mark("ok" if dry_run else "warn")
    lines += [f"{mark} {who}: due: {_named(item)}" for item in records(answer, "due")]
    lines += [f"{output.mark('warn')} {who}: waits for {_named(item)}" for item in records(answer, "lagging")]
    for item in records(answer, "failed"):
        lines.append(f"{output.mark('fail')} {who}: not renewed: {_named(item)}")
        if item.get("hint"):
            lines.append(f"    {text(item['hint'])}")
    return lines or [f"{output.mark('ok')} {who}: nothing is due"]


def _named(item: Record) -> str:
    named = " ".join(filter(None, (text(item.get("what")), text(item.get("name")))))
    return f"{named}: {text(item['detail'])}" if item.get("detail") else named
