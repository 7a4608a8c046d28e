"""Grants as a document: strict, with line and column, and the same when it is read again."""

import json

import pytest

from clusters.errors import SourceError
from federation.registry.grants import Default, Defaults, Grant, Grants, Limits
from federation.registry.grants_document import document, parse

WRITTEN = """
defaults: {exports: deny, addresses: deny}
limits: {services: 10, bytes: 2M, changesPerSecond: 5}
grants:
  - name: shop
    clusters: [west, "edge-*"]
    exports: ["shop/*"]
    to: [onprem]
    imports: ["*/*"]
    addresses: [192.0.2.0/24, 2001:DB8::1, "*.GW.example"]
"""
GRANTS = Grants(
    Defaults(exports=Default.DENY, addresses=Default.DENY),
    Limits(10, 2 << 20, 5),
    (
        Grant(
            "shop",
            ("west", "edge-*"),
            ("shop/*",),
            ("onprem",),
            ("*/*",),
            ("192.0.2.0/24", "2001:db8::1/128", "*.gw.example"),
        ),
    ),
)


def test_a_document_is_read() -> None:
    assert parse(WRITTEN, "grants.yaml") == GRANTS


def test_what_is_written_out_is_read_as_it_was() -> None:
    for grants in (GRANTS, Grants()):
        assert parse(json.dumps(document(grants)), "again") == grants


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "grants: [{name: a, clusters: [w], export: ['a/b']}]",
            "1:35 grants[0].export: unknown field; did you",
        ),
        ("grants: [{name: a, clusters: [w]}]", "1:10 grants[0]: grant 'a': gives nothing"),
        (
            "grants:\n- {name: a, clusters: [w], exports: [shop]}",
            "2:38 grants[0].exports[0]: 'shop': want NAMES",
        ),
        ("grants: [{name: a, clusters: [w], exports: ['*/*'], to: []}]", "to: empty; leave the field out"),
        ("defaults: {exports: maybe}", "1:21 defaults.exports: 'maybe': want allow or deny"),
        ("defaults: deny", "want a mapping with exports, imports, addresses"),
        ("limits: {bytes: 0}", "1:17 limits.bytes: '0': want a whole number of bytes"),
        ("limits: {services: 0}", "limits.services: 0: want 1 or more"),
        ("", "want a mapping"),
        ("grants: &a []\nx: *a", "aliases are not read here"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(SourceError) as refused:
        parse(text, "grants.yaml")
    assert "grants.yaml" in str(refused.value)
    assert problem in str(refused.value)
