"""The grants as a document for people: YAML in, and out again; one that can be reviewed and kept elsewhere.

defaults: {exports: deny, imports: allow, addresses: allow}
limits: {services: 20000, bytes: 16M, changesPerSecond: 500}
grants:
  - name: shop
    clusters: [west, "edge-*"]
    exports: ["shop/*"]
    to: ["*"]
    imports: ["*/*"]
    addresses: [192.0.2.0/24, "*.gw.example"]
"""

import re
from functools import partial
from typing import Final

from clusters.errors import InvalidValue, SourceError
from clusters.names import label
from clusters.sources.cursor import Cursor, Problems
from clusters.sources.document import Malformed, compose
from federation.registry.grants import (
    Default,
    Defaults,
    Grant,
    Grants,
    Limits,
    address_pattern,
    cluster_pattern,
    service_pattern,
)

_SIZE: Final = re.compile(r"([1-9][0-9]{0,11})([KMG]?)")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse(text: str, path: str) -> Grants:
    """Read the grants from *text*; `SourceError` names *path* and all that is wrong, by line and column."""
    problems = Problems()
    grants: Grants | None = None
    try:
        grants = _grants(Cursor.at_root(compose(text), problems))
    except Malformed as error:
        problems.add(error.place, "", error.reason)
    lines = problems.lines()
    if grants is None or lines:
        raise SourceError(path, lines)
    return grants


def _grants(at: Cursor) -> Grants | None:
    if not at.has_fields("defaults", "limits", "grants"):
        return None
    defaults, limits = _defaults(at["defaults"]), _limits(at["limits"])
    grants = at["grants"].each(_grant, key=lambda grant: grant.name)
    if defaults is None or limits is None or grants is None:
        return None
    return at.build(lambda: Grants(defaults, limits, grants))


def _defaults(at: Cursor) -> Defaults | None:
    if at.absent:
        return Defaults()
    if not at.has_fields("exports", "imports", "addresses"):
        return None
    exports, imports, addresses = (
        at[field].text(_default, default=Default.ALLOW) for field in ("exports", "imports", "addresses")
    )
    if exports is None or imports is None or addresses is None:
        return None
    return Defaults(exports, imports, addresses)


def _limits(at: Cursor) -> Limits | None:
    usual = Limits()
    if at.absent:
        return usual
    if not at.has_fields("services", "bytes", "changesPerSecond"):
        return None
    services = at["services"].number(_count, default=usual.services)
    size = at["bytes"].text(_size, default=usual.bytes)
    changes = at["changesPerSecond"].number(_count, default=usual.changes_per_second)
    if services is None or size is None or changes is None:
        return None
    return at.build(lambda: Limits(services, size, changes))


def _grant(at: Cursor) -> Grant | None:
    if not at.has_fields("name", "clusters", "exports", "to", "imports", "addresses"):
        return None
    name = at["name"].text(partial(label, "grant"))
    clusters = at["clusters"].each(lambda each: each.text(cluster_pattern))
    exports = at["exports"].each(lambda each: each.text(service_pattern))
    to = at["to"].each(lambda each: each.text(cluster_pattern))
    imports = at["imports"].each(lambda each: each.text(service_pattern))
    addresses = at["addresses"].each(lambda each: each.text(address_pattern))
    if to == () and not at["to"].absent:
        at["to"].wrong("empty; leave the field out to export to everybody, or name the clusters")
        return None
    if name is None or clusters is None or exports is None or to is None or imports is None:
        return None
    if addresses is None:
        return None
    return at.build(lambda: Grant(name, clusters, exports, to or ("*",), imports, addresses))


def _default(text: str) -> Default:
    try:
        return Default(text)
    except ValueError as error:
        raise InvalidValue("default", text, f"want {' or '.join(Default)}") from error


def _count(number: int) -> int:
    if number < 1:
        raise InvalidValue("limit", number, "want 1 or more")
    return number


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidValue("size", text, "want a whole number of bytes, or of K, M or G: 16M")
    return int(found[1]) * _UNITS[found[2]]


def _shown(size: int) -> str:
    """A size as `_size` reads it, in the largest unit that it is a whole number of."""
    unit = next(unit for unit in "GMK" if size % _UNITS[unit] == 0) if size % 1024 == 0 else ""
    return f"{size // _UNITS[unit]}{unit}"


def document(grants: Grants) -> dict[str, object]:
    """*grants* as `parse` reads them, for whoever prints them as YAML."""
    limits = grants.limits
    return {
        "defaults": {
            "exports": grants.defaults.exports.value,
            "imports": grants.defaults.imports.value,
            "addresses": grants.defaults.addresses.value,
        },
        "limits": {
            "services": limits.services,
            "bytes": _shown(limits.bytes),
            "changesPerSecond": limits.changes_per_second,
        },
        "grants": [_told(grant) for grant in grants.grants],
    }


def _told(grant: Grant) -> dict[str, object]:
    lists = {
        "clusters": grant.clusters,
        "exports": grant.exports,
        "to": grant.to if grant.exports and grant.to != ("*",) else (),
        "imports": grant.imports,
        "addresses": grant.addresses,
    }
    return {"name": grant.name, **{field: list(value) for field, value in lists.items() if value}}
