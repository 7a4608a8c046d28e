"""`fedgate ca`: the hub's own authorities, and the rollover of the root."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from clusters.names import cluster_name
from federation.commands.answers import items, record, records
from federation.commands.consent import ask
from federation.commands.options import FILE, DefaultGroup, Side, admin_options, hub, output_option
from federation.output import Format, Output
from federation.table import Json, Record, Table, plain, text, when

F = TypeVar("F", bound=Callable[..., object])

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
    "wait": "not everybody is ready for the next step: WHY says what is missing",
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


@ca.command()
@click.option("--next", "coming", is_flag=True, help="For a hub CA below a root that is to come.")
@admin_options(Side.HUB)
@output_option
def csr(coming: bool, output: Output) -> None:
    """Ask for the hub CA's certificate: for a root whose key is kept elsewhere.

    Prints the request, PEM. Have it signed as a CA with room for one CA below it; then `fedgate ca install`.
    """
    answer = hub().post("/v1/ca/csr", {"next": coming})
    if output.for_machines:
        output.document(answer)
    else:
        output.lines(_lines(answer.get("csr")))
        then = "rollover start --hub-ca-chain" if coming else "install"
        output.say(f"have it signed; then `fedgate ca {then} CHAIN`")


@ca.command()
@click.argument("chain", type=FILE)
@admin_options(Side.HUB)
@output_option
def install(chain: Path, output: Output) -> None:
    """Use the hub CA in the file CHAIN: its certificate, what is between, and the root, PEM."""
    answer = hub().post("/v1/ca/hub-ca", {"chain": chain.read_text()})
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"hub CA {text(record(answer.get('hub_ca')).get('fingerprint'))} installed"])


@ca.group(cls=_StatusGroup)
def rollover() -> None:
    """Let a new root take over from the present one, step by step, without an interruption.

    Both are trusted by everybody before the new one signs, and nothing of the old one is left when it ends.
    Each step refuses to be taken before everybody is ready for it, and names those who are not.
    """


def _skip(command: F) -> F:
    """`--skip CLUSTER`, as often as need be, and `--yes`."""
    command = click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)
    text = "Go on without this cluster, if it is waited for: it is evicted. Repeatable."
    return click.option("--skip", multiple=True, metavar="CLUSTER", help=text)(command)


@rollover.command("status")
@admin_options(Side.HUB)
@output_option
def rollover_status(output: Output) -> None:
    """Show how far the rollover is, and for whom it waits."""
    _show(hub().get(_PATH), output)


@rollover.command()
@click.option("--root-cert", type=FILE, help="The new root, PEM, instead of one made here.")
@click.option("--root-key", type=FILE, help="Its key, PEM, not encrypted; the hub seals it.")
@click.option("--hub-ca-chain", type=FILE, help="Or what a root has certified whose key is kept elsewhere.")
@click.option(
    "--cross-cert", type=FILE, help="The new root signed by the present one, if we have not that key."
)
@click.option("--auto", is_flag=True, help="Take each step as soon as it may be taken.")
@admin_options(Side.HUB)
@output_option
def start(
    root_cert: Path | None,
    root_key: Path | None,
    hub_ca_chain: Path | None,
    cross_cert: Path | None,
    auto: bool,
    output: Output,
) -> None:
    """Prepare a new root, and have everybody told of it."""
    if (root_cert is None) is not (root_key is None):
        raise click.UsageError("a root from outside needs --root-cert and --root-key")
    if root_cert and hub_ca_chain:
        raise click.UsageError("either --root-cert and --root-key, or --hub-ca-chain")
    files = {"root_cert": root_cert, "root_key": root_key, "hub_ca_chain": hub_ca_chain}
    files["cross_cert"] = cross_cert
    given = {name: path.read_text() for name, path in files.items() if path}
    _show(_step("start", auto=auto, **given), output)


@rollover.command()
@click.option("--auto", is_flag=True, help="Take each step as soon as it may be taken, from now on.")
@_skip
@admin_options(Side.HUB)
@output_option
def resume(auto: bool, skip: tuple[str, ...], yes: bool, output: Output) -> None:
    """Have the new root sign, once everybody has proved to trust it."""
    _show(_step("resume", auto=auto, skip=_meant(skip, yes)), output)


@rollover.command()
@_skip
@admin_options(Side.HUB)
@output_option
def finish(skip: tuple[str, ...], yes: bool, output: Output) -> None:
    """Retire the old root, once nothing of it is left."""
    _show(_step("finish", skip=_meant(skip, yes)), output)


@rollover.command()
@admin_options(Side.HUB)
@output_option
def abort(output: Output) -> None:
    """Go back to the old root; as long as the new one has not signed anything."""
    _show(_step("abort"), output)


def _lines(value: Json) -> list[str]:
    return value.splitlines() if isinstance(value, str) else []


def _meant(clusters: tuple[str, ...], yes: bool) -> list[Json]:
    """Those of *clusters* that are to be shut out of the clusterset: all, if that is really wanted."""
    names = [cluster_name(name) for name in clusters]
    if names and not yes:
        shut = ", ".join(names)
        ask(f"Shut {shut} out of the clusterset, and cut its calls?", f"{shut} would be shut out")
    return [*names]


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
