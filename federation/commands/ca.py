"""`fedgate ca`: the hub's own authorities, and the rollover of the root."""

from pathlib import Path

import click

from federation.commands.answers import items, record, records
from federation.commands.options import FILE, DefaultGroup, Side, admin_options, hub, output_option
from federation.output import Format, Output
from federation.table import Json, Record, Table, plain, text, when

AUTHORITIES = Table(
    "authorities",
    (
        plain("KIND", "kind"),
        plain("SUBJECT", "subject", flexible=True),
        plain("SIGNS", "signs", state=True),
        when("EXPIRES", "not_after"),
        plain("FINGERPRINT", "fingerprint", wide=True),
        plain("PIN", "pin", wide=True),
    ),
    name=lambda authority: text(authority.get("fingerprint")),
)

PARTIES = Table(
    "parties",
    (
        plain("NAME", "name"),
        plain("STATE", "state", state=True),
        plain("KNOWS", "knows"),
        plain("PROVED", "proved"),
        plain("REISSUED", "reissued"),
        plain("WHY", "why", flexible=True),
    ),
)

_NEXT = {
    "wait": "waiting for those who are waited for",
    "switch": "everybody has proved to trust the new root; go on: `fedgate ca rollover resume`",
    "finish": "nothing of the old root is left; retire it: `fedgate ca rollover finish`",
}
_PATH = "/v1/ca/rollover"


class _StatusGroup(DefaultGroup):
    default = "status"


@click.group(cls=_StatusGroup)
def ca() -> None:
    """Show the hub's authorities, and let one root take over from another."""


@ca.command()
@admin_options(Side.HUB)
@output_option
def status(output: Output) -> None:
    """Show the roots and the hub CA: which one signs, and until when they are good."""
    answer = hub().get("/v1/ca")
    if output.for_machines:
        output.document(answer)
        return
    roots = [{"kind": "root", **root} for root in records(answer, "roots")]
    output.records([*roots, {"kind": "hub CA", "signs": True, **record(answer.get("hub_ca"))}], AUTHORITIES)
    phase = text(record(answer.get("rollover")).get("phase"))
    if phase != "none":
        output.say(f"a rollover is under way ({phase}): `fedgate ca rollover status`")


@ca.group(cls=_StatusGroup)
def rollover() -> None:
    """Let a new root take over from the present one, step by step, without an interruption.

    Both are trusted by everybody before the new one signs, and nothing of the old one is left when it ends.
    Each step refuses to be taken before everybody is ready for it, and names those who are not.
    """


@rollover.command("status")
@admin_options(Side.HUB)
@output_option
def rollover_status(output: Output) -> None:
    """Show how far the rollover is, and for whom it waits."""
    _show(hub().get(_PATH), output)


@rollover.command()
@click.option("--root-cert", type=FILE, help="The new root, PEM, instead of one made here.")
@click.option("--root-key", type=FILE, help="Its key, PEM, not encrypted; the hub seals it.")
@click.option("--auto", is_flag=True, help="Take each step as soon as it may be taken.")
@admin_options(Side.HUB)
@output_option
def start(root_cert: Path | None, root_key: Path | None, auto: bool, output: Output) -> None:
    """Prepare a new root, and have everybody told of it."""
    if (root_cert is None) is not (root_key is None):
        raise click.UsageError("a root from outside needs --root-cert and --root-key")
    given: dict[str, Json] = {}
    if root_cert and root_key:
        given = {"root_cert": root_cert.read_text(), "root_key": root_key.read_text()}
    _show(_step("start", auto=auto, **given), output)


@rollover.command()
@click.option("--auto", is_flag=True, help="Take each step as soon as it may be taken, from now on.")
@admin_options(Side.HUB)
@output_option
def resume(auto: bool, output: Output) -> None:
    """Have the new root sign, once everybody has proved to trust it."""
    _show(_step("resume", auto=auto), output)


@rollover.command()
@admin_options(Side.HUB)
@output_option
def finish(output: Output) -> None:
    """Retire the old root, once nothing of it is left."""
    _show(_step("finish"), output)


@rollover.command()
@admin_options(Side.HUB)
@output_option
def abort(output: Output) -> None:
    """Go back to the old root; as long as the new one has not signed anything."""
    _show(_step("abort"), output)


def _step(step: str, **given: Json) -> Record:
    return hub().post(_PATH, {"step": step, **given})


def _show(answer: Record, output: Output) -> None:
    """The parties, and what may be done next."""
    if output.for_machines:
        output.document(answer)
        return
    if answer.get("phase") == "none":
        output.say("no rollover is under way")
        return
    output.records([record(each) for each in items(answer.get("parties"))], PARTIES)
    if output.format in (Format.TABLE, Format.WIDE):
        output.say(f"{text(answer.get('phase'))}: {_NEXT.get(text(answer.get('next')), '')}")
