"""`fedgate resolve`: what DNS answers for a name, from where, and why."""

import click

from clusters.names import CLUSTERSET_DOMAIN
from federation.commands.answers import items, records
from federation.commands.options import Side, admin_options, either, hub, output_option
from federation.errors import Exit
from federation.output import Format, Output
from federation.table import Json, Record, Table, plain, text

TABLE = Table(
    "answers",
    (plain("NAME", "name", flexible=True), plain("TYPE", "type"), plain("TTL", "ttl"), plain("DATA", "data")),
    name=lambda answer: text(answer.get("data")),
)
_EXITS = {"NOERROR": Exit.OK, "NXDOMAIN": Exit.NOT_FOUND}


def full_name(text: str) -> str:
    """`shop/catalog` and `catalog.shop.svc` as DNS names; anything else is one already."""
    if text.count("/") == 1:
        namespace, name = text.split("/")
        return f"{name}.{namespace}.svc.{CLUSTERSET_DOMAIN}"
    return f"{text}.{CLUSTERSET_DOMAIN}" if text.endswith(".svc") else text


@click.command()
@click.argument("name")
@click.option("--from", "origin", metavar="CLUSTER", help="As asked in this cluster; the hub answers.")
@click.option("--type", "qtype", metavar="TYPE", help="Only answers of this type: A, AAAA, SRV, TXT.")
@admin_options(Side.HUB, Side.AGENT)
@output_option
def resolve(name: str, origin: str | None, qtype: str | None, output: Output) -> int:
    """Explain what DNS answers for a name, and why.

    NAME is a DNS name, or short as in shop/catalog. This cluster's agent is asked, or the hub with --from.
    Exits with 3 for a name that does not exist.
    """
    wanted = qtype.upper() if qtype else None
    admin = hub() if origin else either(Side.AGENT)
    answer = dict(admin.get("/v1/resolve", name=full_name(name), type=wanted, **{"from": origin}))
    answers = [a for a in records(answer, "answers") if wanted in (None, a.get("type"))]
    if output.format in (Format.TABLE, Format.WIDE):
        _explain(answer, answers, output)
    elif output.format is Format.NAME:
        output.records(answers, TABLE)
    else:
        listed: list[Json] = [*answers]
        output.document({**answer, "answers": listed})
    return _EXITS.get(text(answer.get("rcode")), Exit.CHECK_FAILED)


def _explain(answer: Record, answers: list[Record], output: Output) -> None:
    """The verdict first, then the records, then the reasons."""
    rcode = text(answer.get("rcode"))
    asked_in = f", asked in {text(answer['from'])}" if answer.get("from") else ""
    source = f", from {text(answer['source'])}" if answer.get("source") else ""
    output.lines([f"{text(answer.get('name'))}: {output.paint(rcode, rcode)}{source}{asked_in}"])
    if answers:
        output.records(answers, TABLE)
    output.lines([f"  because {text(why)}" for why in items(answer.get("why"))])
