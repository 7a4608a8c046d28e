"""`fedgate grant`: who may export what to whom, who may import it, and where gateways may be."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click

from federation.client import Admin
from federation.commands.answers import items, named, record, records
from federation.commands.consent import ask
from federation.commands.options import DefaultGroup, F, Side, Size, admin_options, hub, output_option
from federation.errors import GrantExists
from federation.output import Output
from federation.table import Column, Json, Record, Table, plain, text

_ASPECTS = ("exports", "imports", "addresses")
_SHOWN = 20


def _to(grant: Record, _: datetime) -> str:
    """To whom it lets be exported: everybody if it does not say; nobody if it speaks of no exports."""
    return text(grant.get("to") or (["*"] if grant.get("exports") else None))


TABLE = Table(
    "grants",
    (
        plain("NAME", "name"),
        plain("CLUSTERS", "clusters", flexible=True),
        plain("EXPORTS", "exports", flexible=True),
        Column("TO", _to, flexible=True),
        plain("IMPORTS", "imports", flexible=True),
        plain("ADDRESSES", "addresses", flexible=True),
    ),
    empty="no grants; what holds then are the defaults",
)


@click.group(cls=DefaultGroup)
def grant() -> None:
    """Say who may export what to whom.

    Grants add up. What none of them speaks of goes by the defaults, which allow everything unless
    `fedgate grant default deny` was said.
    """


def _changing(command: F) -> F:
    """The options of all that change grants."""
    command = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")(
        command
    )
    command = click.option("-y", "--yes", is_flag=True, help="Do not ask when something would be lost.")(
        command
    )
    return admin_options(Side.HUB)(output_option(command))


@grant.command("list")
@admin_options(Side.HUB)
@output_option
def list_grants(output: Output) -> None:
    """List the grants, and what holds without them.

    `-o yaml` is a document as `fedgate grant apply` takes it.
    """
    _, found = _now(hub())
    if output.for_machines:
        output.document(found)
        return
    output.records(records(found, "grants"), TABLE)
    defaults = record(found.get("defaults"))
    output.say("defaults: " + ", ".join(f"{aspect} {text(defaults.get(aspect))}" for aspect in _ASPECTS))


@grant.command()
@click.argument("name")
@admin_options(Side.HUB)
@output_option
def show(name: str, output: Output) -> None:
    """Show the grant NAME."""
    output.record(named("grant", name, records(_now(hub())[1], "grants")), TABLE)


@grant.command()
@click.argument("name")
@click.option(
    "--cluster", "clusters", multiple=True, required=True, metavar="PATTERN", help="Whom it is about."
)
@click.option("--export", "exports", multiple=True, metavar="NAMESPACE/NAME", help="What they may export.")
@click.option("--to", multiple=True, metavar="PATTERN", help="To whom.  [default: everybody]")
@click.option("--import", "imports", multiple=True, metavar="NAMESPACE/NAME", help="What they may import.")
@click.option(
    "--address", "addresses", multiple=True, metavar="CIDR|NAME", help="Where their gateways may be reached."
)
@click.option("--replace", is_flag=True, help="Replace a grant of that name.")
@_changing
def add(
    name: str,
    clusters: tuple[str, ...],
    exports: tuple[str, ...],
    to: tuple[str, ...],
    imports: tuple[str, ...],
    addresses: tuple[str, ...],
    replace: bool,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    """Write down the grant NAME. All options but --replace may be given several times.

    A pattern is a name, the beginning of names and `*`, or `*`. Gateways at loopback or link-local
    addresses need a grant of such addresses alone: --address 127.0.0.0/8.
    """
    lists = {"clusters": clusters, "exports": exports, "to": to, "imports": imports, "addresses": addresses}
    made: dict[str, Json] = {"name": name, **{field: list(given) for field, given in lists.items() if given}}

    def edit(found: dict[str, Json]) -> None:
        others = [each for each in items(found["grants"]) if record(each).get("name") != name]
        if len(others) < len(items(found["grants"])) and not replace:
            raise GrantExists(name)
        found["grants"] = [*others, made]

    _change(edit, output, dry_run=dry_run, yes=yes)


@grant.command()
@click.argument("name")
@_changing
def remove(name: str, dry_run: bool, yes: bool, output: Output) -> None:
    """Take the grant NAME away. What was exported by it leaves at once, and comes back with another grant."""

    def edit(found: dict[str, Json]) -> None:
        listed = records(found, "grants")
        gone = named("grant", name, listed)
        found["grants"] = [each for each in listed if each is not gone]

    _change(edit, output, dry_run=dry_run, yes=yes)


@grant.command()
@click.argument("rule", type=click.Choice(["allow", "deny"]))
@click.option("--exports", is_flag=True, help="For exports.")
@click.option("--imports", is_flag=True, help="For imports.")
@click.option("--addresses", is_flag=True, help="For addresses of gateways.")
@_changing
def default(
    rule: str, exports: bool, imports: bool, addresses: bool, dry_run: bool, yes: bool, output: Output
) -> None:
    """Say what holds for what no grant speaks of: for all of it, or for what the options say."""
    chosen = [aspect for aspect, said in zip(_ASPECTS, (exports, imports, addresses), strict=True) if said]

    def edit(found: dict[str, Json]) -> None:
        found["defaults"] = {**record(found.get("defaults")), **dict.fromkeys(chosen or _ASPECTS, rule)}

    _change(edit, output, dry_run=dry_run, yes=yes)


@grant.command()
@click.option("--services", type=click.IntRange(1), help="How many services a cluster may export.")
@click.option("--bytes", "size", type=Size(), help="How much its exports may take at the hub.")
@click.option(
    "--changes-per-second", type=click.IntRange(1), help="How many of them it may change, for long."
)
@_changing
def limit(
    services: int | None,
    size: int | None,
    changes_per_second: int | None,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    """Say how much each cluster may have at the hub, and how fast it may change it."""
    asked = {"services": services, "bytes": size and str(size), "changesPerSecond": changes_per_second}
    said = {field: value for field, value in asked.items() if value is not None}
    if not said:
        raise click.UsageError("say at least one limit", click.get_current_context())

    def edit(found: dict[str, Json]) -> None:
        found["limits"] = {**record(found.get("limits")), **said}

    _change(edit, output, dry_run=dry_run, yes=yes)


@grant.command()
@click.option(
    "-f",
    "--file",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="The document; - for stdin.",
)
@_changing
def apply(path: Path, dry_run: bool, yes: bool, output: Output) -> None:
    """Replace all grants, defaults and limits by those in a document.

    What it does not say is as it was at first: no grants, and everything allowed.
    """
    from federation.registry.grants_document import document, parse

    if str(path) == "-":
        content, where = sys.stdin.read(), "stdin"
    else:
        content, where = path.read_text(encoding="utf-8"), str(path)
    wanted: dict[str, Json] = json.loads(json.dumps(document(parse(content, where))))

    def edit(found: dict[str, Json]) -> None:
        found.update(wanted)

    _change(edit, output, dry_run=dry_run, yes=yes)


def _now(admin: Admin) -> tuple[Json, dict[str, Json]]:
    """The revision of the grants, and their document."""
    found = dict(admin.get("/v1/grants"))
    return found.pop("revision", 0), found


def _change(edit: Callable[[dict[str, Json]], None], output: Output, *, dry_run: bool, yes: bool) -> None:
    """Have the hub take what *edit* makes of the grants; ask first if somebody would lose something."""
    admin = hub()
    revision, found = _now(admin)
    edit(found)
    body = {"text": json.dumps(found), "revision": revision}
    answer = admin.post("/v1/grants", {**body, "dry_run": True})
    lost = [record(each) for each in items(answer.get("effects")) if record(each).get("lost")]
    if not dry_run:
        if lost and not yes:
            _say(lost, output)
            ask("Go on?", f"{len(lost)} services or addresses would be lost")
        answer = admin.post("/v1/grants", {**body, "dry_run": False})
    if output.for_machines:
        output.document(answer)
        return
    output.lines([text(each) for each in items(answer.get("changes"))] or ["nothing changed"])
    _say([record(each) for each in items(answer.get("effects"))], output)
    if dry_run:
        output.say("nothing was changed: --dry-run")


def _say(effects: list[Record], output: Output) -> None:
    for effect in effects[:_SHOWN]:
        of, cluster, name = (text(effect.get(key)) for key in ("of", "cluster", "name"))
        output.say(f"  {of} {name} of {cluster}: {text(effect.get('now'))}")
    if len(effects) > _SHOWN:
        output.say(f"  and {len(effects) - _SHOWN} more")
