"""Takes in what a cluster says that it offers, record by record, and names those that cannot be taken."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from clusters.errors import ClusterError
from clusters.jwt_key import JwtKeys
from clusters.model import Export, GatewayRecord
from clusters.names import ClusterName, ServiceName, host, host_address, is_address, label
from federation.audit import Audit
from federation.errors import ChangesRejected, UnreadableRecord, VipsExhausted
from federation.registry.judge import Judge, Ruling
from federation.registry.registry import Registry
from federation.sync import records
from pki.errors import PkiError
from pki.jwt_svid import public_key

V = TypeVar("V")

Bodies = Mapping[str, bytes | None]
Refused = dict[str, str]
"""By name, why a record was not taken."""


class Hearing:
    """Writes down exports and gateways. *judge* says which of them others will not hear of."""

    def __init__(
        self, registry: Registry, judge: Callable[[], Judge], audit: Audit, now: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._judge = judge
        self._audit = audit
        self._now = now

    async def exports(self, cluster: ClusterName, changes: Bodies) -> Refused:
        """Take *changes* of exports, and say which were not taken."""
        said, refused = _each(changes, _export)
        exports = {ServiceName.parse(name): export for name, export in said.items()}
        refused |= await self._write(cluster, exports)
        for service, export in exports.items():
            if export and str(service) not in refused:
                self._note(cluster, "export", str(service), self._judge().export(cluster, service))
        return refused

    async def gateways(self, cluster: ClusterName, changes: Bodies) -> Refused:
        """The same of gateways; `ChangesRejected` for more of them than a cluster may have."""
        said, refused = _each(changes, _gateway)
        await self._registry.offers.set_gateways(cluster, said)
        for gateway in filter(None, said.values()):
            for address in gateway.addresses:
                self._note(cluster, "gateway", gateway.name, self._judge().address(cluster, address))
        return refused

    def refuse(self, cluster: ClusterName, kind: str, refused: Refused) -> None:
        """Write down what was not taken."""
        for name, reason in refused.items():
            self._audit.record("refused", cluster, what=kind.rpartition(".")[2], name=name, reason=reason)

    async def _write(self, cluster: ClusterName, exports: Mapping[ServiceName, Export | None]) -> Refused:
        """Write *exports* down: one by one when not all of them have room, so that those have that can."""
        try:
            await self._registry.offers.set_exports(cluster, exports, self._now())
        except VipsExhausted as error:
            if len(exports) == 1:
                return {error.service: str(error)}
        else:
            return {}
        refused: Refused = {}
        for service, export in sorted(exports.items(), key=lambda item: item[1] is not None):
            refused |= await self._write(cluster, {service: export})
        return refused

    def _note(self, cluster: ClusterName, what: str, name: str, ruling: Ruling) -> None:
        """Write down what is taken and not passed on."""
        if not ruling:
            self._audit.record("refused", cluster, what=what, name=name, reason=ruling.reason)


def _each(
    changes: Bodies, read: Callable[[str, bytes | None], V | None]
) -> tuple[dict[str, V | None], Refused]:
    """What *read* makes of each record, and why it makes nothing of some."""
    said: dict[str, V | None] = {}
    refused: Refused = {}
    for name, body in changes.items():
        try:
            said[name] = read(name, body)
        except (UnreadableRecord, ClusterError) as error:
            refused[name] = str(error)
    return said, refused


def _export(name: str, body: bytes | None) -> Export | None:
    ServiceName.parse(name)
    return None if body is None else records.decode(Export, name, body)


def _gateway(name: str, body: bytes | None) -> GatewayRecord | None:
    label("gateway", name)
    if body is None:
        return None
    gateway = records.decode(GatewayRecord, name, body)
    for address in gateway.addresses:
        host_address(address) if is_address(address) else host(address)
    return gateway


def jwt_keys(cluster: ClusterName, changes: Bodies) -> JwtKeys:
    """The JWT keys that *cluster* tells of, if they are keys and its own; ChangesRejected if not."""
    keys = of_itself(cluster, JwtKeys, changes) or JwtKeys(cluster)
    for key in keys.keys:
        try:
            public_key(key.x, key.y)
        except PkiError as error:
            raise ChangesRejected(f"JWT key {key.id}: {error}") from error
    return keys


def of_itself(cluster: ClusterName, kind: type[records.R], changes: Bodies) -> records.R | None:
    """The one record of *kind* that *cluster* has of itself; ChangesRejected if it tells of others'."""
    if others := changes.keys() - {cluster}:
        raise ChangesRejected(f"{cluster} tells of the {kind.__name__} of {', '.join(sorted(others))}")
    return read(kind, changes)[cluster]


def read(kind: type[records.R], changes: Bodies) -> dict[str, records.R | None]:
    """Each record as a *kind*, and None for one that is taken back; raises UnreadableRecord."""
    return {
        name: None if body is None else records.decode(kind, name, body) for name, body in changes.items()
    }
