"""`fedgate token`: join tokens, each good for one cluster, once, and not for long."""

from datetime import timedelta

import click

from clusters.durations import short
from clusters.names import cluster_name
from federation.commands.answers import records
from federation.commands.options import Duration, Side, admin_options, hub, output_option, quiet_option
from federation.output import Format, Output
from federation.table import Table, plain, text, when

TABLE = Table(
    "tokens",
    (
        plain("ID", "id"),
        plain("CLUSTER", "cluster"),
        plain("STATE", "state", state=True),
        when("EXPIRES", "expires"),
        when("CREATED", "created"),
    ),
    name=lambda token: text(token.get("id")),
    empty="no join tokens",
)


@click.group()
def token() -> None:
    """Make, list and revoke join tokens."""


@token.command()
@click.argument("cluster")
@click.option("--ttl", type=Duration(), default="15m", show_default=True, help="How long it is good.")
@quiet_option
@admin_options(Side.HUB)
@output_option
def create(cluster: str, ttl: timedelta, quiet: bool, output: Output) -> None:
    """Make a token with which CLUSTER may join, once.

    Prints the line to paste there. The token is a secret: it is piped, never an argument, so that
    no process list shows it.
    """
    if ttl < timedelta(seconds=1):
        raise click.BadParameter("a token must be good for a second at least", param_hint="--ttl")
    made = hub().post(
        "/v1/tokens", {"cluster": cluster_name(cluster), "ttl_seconds": int(ttl.total_seconds())}
    )
    if quiet:
        output.lines([text(made.get("token"))])
    elif output.for_machines:
        output.document(made)
    elif output.format is Format.NAME:
        output.lines([text(made.get("id"))])
    else:
        output.lines([f"echo {text(made.get('token'))} | fedgate join"])
        output.say(f"paste this where {cluster} is to join, within {short(ttl)}; it works once")


@token.command("list")
@admin_options(Side.HUB)
@output_option
def list_tokens(output: Output) -> None:
    """List the tokens; their secrets are nowhere, only hashes are kept."""
    output.records(records(hub().get("/v1/tokens"), "tokens"), TABLE)


@token.command()
@click.argument("token_id", metavar="ID")
@admin_options(Side.HUB)
@output_option
def revoke(token_id: str, output: Output) -> None:
    """Make the token ID worthless. A cluster that has joined with it stays."""
    name = public_id(token_id)
    answer = hub().delete("/v1/tokens", name)
    if output.for_machines:
        output.document(answer)
    else:
        output.lines([f"{name} revoked"])


def public_id(text: str) -> str:
    """The id of *text*, which may be the whole token: then it must be revoked all the more."""
    if not text.startswith("fg"):  # ids are hexadecimal
        return text
    # Its reader needs msgspec, which no other use of this command pays for.
    from federation.commands.secret_input import id_of

    if (read := id_of(text)) is None:
        raise click.UsageError("this is a token, but cut, changed or not a cluster's: give its ID instead")
    return read
