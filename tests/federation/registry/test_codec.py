import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusters.model import Export, GatewayRecord, Locality
from clusters.names import ServiceName
from clusters.services import Port
from federation.errors import UnreadableRecord
from federation.registry.codec import decode, encode
from federation.registry.records import (
    AliveRecord,
    ClusterRecord,
    ClusterState,
    ExportRecord,
    FreedIndex,
    NextIndex,
    ServiceRecord,
    StatusRecord,
    TokenRecord,
)
from tests.builders import CLOUD, HTTP, ONPREM, federation

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
CATALOG = ServiceName("shop", "catalog")

RECORDS = [
    federation(roots=("ROOT",)),
    ClusterRecord(ONPREM, "onprem.fed.example", ("ANCHOR",), NOW, ClusterState.LEAVING),
    StatusRecord(NOW, "0.1.0", -0.25),
    AliveRecord(NOW),
    ExportRecord(Export(CATALOG, (HTTP, Port(53)), 3), NOW),
    GatewayRecord("gw-1", ("192.0.2.1", "2001:db8::1"), 15008, Locality("eu", "a")),
    ServiceRecord(7, (ONPREM, CLOUD)),
    NextIndex(8),
    FreedIndex(3, CATALOG, NOW),
    TokenRecord("id", "hash", ONPREM, NOW, NOW, used_at=NOW),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_is_read_as_it_was_written(record: object) -> None:
    assert decode("it", encode(record), type(record)) == record


def test_a_record_of_a_newer_schema_is_refused_with_what_to_do() -> None:
    newer = encode(NextIndex(1)).replace(b'"schema":1', b'"schema":2')
    with pytest.raises(UnreadableRecord, match="x cannot be read: it has schema 2") as refused:
        decode("x", newer, NextIndex)
    assert "newer" in refused.value.hint


def test_the_schema_is_looked_at_before_the_record_is() -> None:
    with pytest.raises(UnreadableRecord, match="schema 9"):
        decode("x", b'{"schema":9,"record":"of another shape"}', NextIndex)


def test_a_record_from_before_a_field_came_is_read_with_its_default() -> None:
    older = json.dumps({"schema": 1, "record": {"last_seen": NOW.isoformat()}}).encode()
    assert decode("x", older, StatusRecord) == StatusRecord(NOW)


def test_a_field_that_is_unknown_here_is_ignored() -> None:
    body = encode(NextIndex(1)).replace(b'"index"', b'"colour":"red","index"')
    assert decode("x", body, NextIndex) == NextIndex(1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"{}", "schema"),
        (b'{"schema":0,"record":{"index":1}}', "schema 0"),
        (b'{"schema":1}', ""),
        (b'{"schema":1,"record":{"index":"one"}}', "index"),
        (b'{"schema":1,"record":{"index":1', "truncated"),
        (b"\xff\xfe", ""),
    ],
)
def test_a_damaged_record_is_refused_and_named(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableRecord, match=f"fedgate/vips/next cannot be read: .*{reason}"):
        decode("fedgate/vips/next", body, NextIndex)


@pytest.mark.parametrize(
    ("written", "forged", "reason"),
    [
        (b'"shop"', b'"SHOP"', "namespace 'SHOP'"),
        (b'"number":8080', b'"number":80800', "port 80800"),
        (b'"TCP"', b'"tcp"', "protocol"),
        (b"Z", b"", "timezone"),
    ],
)
def test_a_record_that_no_model_would_make_is_refused(written: bytes, forged: bytes, reason: str) -> None:
    body = encode(ExportRecord(Export(CATALOG, (HTTP,), 1), NOW)).replace(written, forged)
    with pytest.raises(UnreadableRecord, match=reason):
        decode("x", body, ExportRecord)


@given(st.binary(max_size=200))
@example(b'{"schema":1,"record":' + b"[" * 100_000)
def test_whatever_is_stored_is_read_or_refused(body: bytes) -> None:
    with suppress(UnreadableRecord):
        decode("x", body, ExportRecord)
