"""The audit record by way of the admin API: its entries, and whether they are as they were written."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from aiohttp import web

from federation.api.answers import Check
from federation.api.http import ApiError, json_response, off_the_loop
from federation.audit import Audit
from federation.audit_answers import MOST_ENTRIES, Wanted, entries_document, verdict_document
from federation.audit_files import broken_of


def add_audit(app: web.Application, audit: Audit) -> None:
    """Add `/v1/audit` and `/v1/audit/verify` to *app*."""

    async def entries(request: web.Request) -> web.StreamResponse:
        return json_response(await off_the_loop(partial(entries_document, audit.folder, _wanted(request))))

    async def verified(request: web.Request) -> web.StreamResponse:
        # What has just happened counts as well.
        await off_the_loop(audit.settle)
        head = request.query.get("head", "")
        return json_response(await off_the_loop(partial(verdict_document, audit.folder, head)))

    app.router.add_get("/v1/audit", entries)
    app.router.add_get("/v1/audit/verify", verified)


def audit_checks(audit: Audit) -> Iterable[Check]:
    """Whether the record is being written, and whether it was found broken."""
    if audit.trouble:
        yield Check("audit record", "fail", f"not written: {audit.trouble}", "what happens waits in memory")
    if broken := broken_of(audit.folder):
        detail = f"found broken at a start, and kept in {broken[0]}"
        yield Check("audit record", "fail", detail, "look into it, then move it elsewhere")
    if not audit.trouble and not broken:
        yield Check("audit record", "ok", "being written")


def _wanted(request: web.Request) -> Wanted:
    query = request.query
    try:
        since = datetime.fromisoformat(query["since"]) if "since" in query else None
        most = int(query.get("most", "1000"))
        if not 1 <= most <= MOST_ENTRIES or (since and since.tzinfo is None):
            raise ValueError
    except ValueError as error:
        hint = f"`since` is a time with its zone, `most` a number from 1 to {MOST_ENTRIES}"
        raise ApiError(400, "bad-query", "the query cannot be read", hint) from error
    return Wanted(since, query.get("action", ""), query.get("subject", ""), most)
