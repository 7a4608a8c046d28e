from dataclasses import replace

import msgspec
import pytest

from clusters.model import Export, GatewayRecord, Import, Locality
from clusters.names import ServiceName
from clusters.services import Port
from federation.errors import UnreadableRecord
from federation.sync import records
from federation.sync.records import Record
from tests.builders import CLOUD, ONPREM, federation, imported, member

EXPORT = Export(ServiceName("shop", "catalog"), (Port(8080, "http", app_protocol="http"),), 3)
GATEWAY = GatewayRecord("gw-1", ("192.0.2.1", "2001:db8::1"), 15008, Locality("eu", "a"))


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (EXPORT, "shop/catalog"),
        (replace(EXPORT, passthrough=True), "shop/catalog"),
        (GATEWAY, "gw-1"),
        (federation(roots=("ROOT",)), "fed.example"),
        (member(CLOUD, "192.0.2.1"), "cloud"),
        (imported("catalog", ONPREM, CLOUD), "shop/catalog"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_decode_undoes_encode(record: Record, name: str) -> None:
    resource = records.encode(record)
    assert resource.name == name
    assert records.decode(type(record), name, resource.body) == record


def test_equal_records_have_equal_versions_and_others_do_not() -> None:
    assert records.encode(imported("a", ONPREM)).version == records.encode(imported("a", ONPREM)).version
    assert records.encode(imported("a", ONPREM)).version != records.encode(imported("a", CLOUD)).version


def test_what_a_newer_fedgate_adds_is_ignored() -> None:
    newer = msgspec.json.decode(records.encode(GATEWAY).body)
    newer["later"] = {"anything": 1}
    assert records.decode(GatewayRecord, "gw-1", msgspec.json.encode(newer)) == GATEWAY


def test_what_an_older_fedgate_left_out_has_its_default() -> None:
    older = b'{"name": "gw-1", "addresses": ["192.0.2.1"]}'
    assert records.decode(GatewayRecord, "gw-1", older) == GatewayRecord("gw-1", ("192.0.2.1",))
    catalog = b'{"namespace": "shop", "name": "catalog"}'
    export = records.decode(Export, "shop/catalog", b'{"service": %s, "ports": []}' % catalog)
    assert not export.passthrough
    body = b'{"service": %s, "index": 1, "ports": [], "offerings": []}' % catalog
    assert not records.decode(Import, "shop/catalog", body).passthrough


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"\xff", "invalid"),
        (b"[]", "array"),
        (b'{"name": "gw-1"}', "addresses"),
        (b'{"name": "gw-1", "addresses": ["no_where"]}', "not an IPv4 or IPv6 address"),
        (b'{"name": "gw-2", "addresses": ["192.0.2.1"]}', "calls itself 'gw-2'"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_by_name(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableRecord, match=f"(?s)GatewayRecord 'gw-1'.*{reason}"):
        records.decode(GatewayRecord, "gw-1", body)
