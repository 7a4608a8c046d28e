"""The audit record by way of the admin API: who made a token is in it, and it can be asked for."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from federation.api.audit import add_audit, audit_checks
from federation.api.http import actor_of, application, json_response, served_on_socket
from federation.audit import Audit

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[Audit]:
    """A record that is written, and told of on a socket."""
    made = Audit(tmp_path, lambda: NOW)
    app = application()
    add_audit(app, made)

    async def act(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        made.record("token-created", "onprem", actor=actor_of(request))
        return json_response({})

    app.router.add_post("/v1/act", act)
    with made.kept():
        async with served_on_socket(app, tmp_path / "admin.sock"):
            yield made


async def asked(audit: Audit, path: str, method: str = "GET") -> tuple[int, dict[str, object]]:
    connector = aiohttp.UnixConnector(str(audit.folder / "admin.sock"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"http://hub{path}") as response,
    ):
        return response.status, await response.json()


async def test_what_is_done_over_the_socket_is_told_with_who_did_it(audit: Audit) -> None:
    await asked(audit, "/v1/act", "POST")
    status, verdict = await asked(audit, "/v1/audit/verify")
    assert (status, verdict["ok"], verdict["entries"]) == (200, True, 1)
    _, found = await asked(audit, "/v1/audit?action=token-created&since=2026-06-01T12:00:00Z")
    assert isinstance(found["entries"], list)
    (entry,) = found["entries"]
    assert (entry["subject"], entry["actor"]) == ("onprem", f"uid={os.getuid()} pid={os.getpid()}")
    assert (await asked(audit, "/v1/audit?action=issued"))[1]["entries"] == []


@pytest.mark.parametrize("query", ["since=2026-06-01T12:00:00", "since=soon", "most=0", "most=x"])
async def test_a_query_that_makes_no_sense_is_refused(query: str, audit: Audit) -> None:
    assert (await asked(audit, f"/v1/audit?{query}"))[0] == 400


async def test_check_fails_while_a_broken_record_is_there(audit: Audit) -> None:
    assert [check.status for check in audit_checks(audit)] == ["ok"]
    (audit.folder / "audit-broken-20260601T120000Z").mkdir()
    (check,) = audit_checks(audit)
    assert (check.status, "audit-broken-20260601T120000Z" in check.detail) == ("fail", True)
