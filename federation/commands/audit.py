"""`fedgate audit`: who was given, refused or deprived of what, and whether that record is whole."""

from datetime import UTC, datetime
from pathlib import Path

import click

from clusters.durations import moment, parse_duration
from clusters.errors import ClusterError
from federation.audit_answers import MOST_ENTRIES, Wanted, entries_document, verdict_document
from federation.audit_files import files_of
from federation.commands.answers import record, records
from federation.commands.options import STATE, DefaultGroup, Side, admin_options, either, output_option
from federation.errors import Exit, NotFound
from federation.output import Output
from federation.table import Record, Table, plain, text

TABLE = Table(
    "entries",
    (
        plain("N", "n"),
        plain("AT", "at"),
        plain("ACTION", "action"),
        plain("SUBJECT", "subject", flexible=True),
        plain("ACTOR", "actor", flexible=True),
        plain("DETAILS", "details", flexible=True),
        plain("HASH", "hash", wide=True),
    ),
    name=lambda entry: text(entry.get("hash")),
    empty="no such entries",
)

_state = click.option("--state", type=STATE, help="Read the files in this state folder, and ask nobody.")


class Since(click.ParamType[datetime]):
    """A moment: so long ago (`2h`), or a time as in `2026-06-01T12:00:00Z`; without a zone it is UTC."""

    name = "duration|time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse the option's text."""
        if isinstance(value, datetime):
            return value
        try:
            return moment(value)
        except ValueError:
            pass
        try:
            return datetime.now(UTC) - parse_duration(value)
        except (ClusterError, OverflowError) as error:
            self.fail(f"{error}; or a time, such as 2026-06-01T12:00:00Z", param, ctx)


@click.group(cls=DefaultGroup)
def audit() -> None:
    """Show the audit record of the hub or the agent, and verify it.

    It says who was given, refused or deprived of what. Each entry carries the hash of the one before
    it, so that none can be changed, or taken away from between others, without being noticed.
    """


@audit.command("list")
@click.option("--since", type=Since(), help="Only what happened since then.")
@click.option("--action", default="", help="Only this: issued, denied, …")
@click.option("--subject", default="", help="Only those whose subject has this in it.")
@click.option(
    "--most",
    type=click.IntRange(1, MOST_ENTRIES),
    default=1000,
    show_default=True,
    help="Only so many, the last ones.",
)
@_state
@admin_options(Side.HUB, Side.AGENT)
@output_option
def list_entries(
    since: datetime | None, action: str, subject: str, most: int, state: Path | None, output: Output
) -> None:
    """List what happened, the oldest first."""
    if state is None:
        when = since.isoformat() if since else None
        answer = either(Side.HUB).get(
            "/v1/audit", since=when, action=action or None, subject=subject or None, most=str(most)
        )
    else:
        answer = entries_document(_with_record(state), Wanted(since, action, subject, most))
    output.records(records(answer, "entries"), TABLE)
    if answer.get("problem"):
        output.say(f"warning: {text(answer.get('problem'))}")


@audit.command()
@click.option("--head", default="", metavar="HASH", help="A head noted earlier: it has to be in the record.")
@_state
@admin_options(Side.HUB, Side.AGENT)
@output_option
def verify(head: str, state: Path | None, output: Output) -> int:
    """Check that no entry was changed or taken away.

    Prints the record's head. Who rewrites all of it, or takes away its end, can be found out only by a
    head that was noted elsewhere: give it with --head.
    """
    if state is None:
        answer = either(Side.HUB).get("/v1/audit/verify", head=head or None)
    else:
        answer = verdict_document(_with_record(state), head)
    if output.for_machines:
        output.document(answer)
    elif answer.get("head"):
        output.lines(_told(answer))
    if answer.get("ok"):
        return Exit.OK
    if not output.for_machines:
        output.say(f"error: {text(answer.get('problem'))}")
        output.say("hint: compare it with a backup, or with a head that was noted elsewhere")
    return Exit.CHECK_FAILED


def _with_record(state: Path) -> Path:
    if not files_of(state):
        raise NotFound("audit record", str(state))
    return state


def _told(answer: Record) -> list[str]:
    first, last = record(answer.get("first")), record(answer.get("last"))
    return [
        f"entries: {text(answer.get('entries'))}",
        f"first:   {text(first.get('n'))} at {text(first.get('at'))}",
        f"last:    {text(last.get('n'))} at {text(last.get('at'))}",
        f"head:    {text(answer.get('head'))}",
    ]
