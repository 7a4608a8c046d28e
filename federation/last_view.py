"""The agent's last view of the clusterset on disk, so that a cluster starts while the hub is away.

One JSON file, replaced as a whole. It holds what came from the hub, the newest good offer of the source, for
a start with a broken one, and whose addresses were: gateways outlive an agent, and so do the connections that
they keep for each address. Nothing in it is secret.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import ClusterError
from clusters.foreign import TrustBundle
from clusters.model import Federation, GatewayRecord, Import, Member, Offer, Workload
from clusters.names import ClusterName, ServiceName
from clusters.services import LocalService
from clusters.verdict import Verdict
from federation.errors import UnreadableRecord
from federation.sync.records import name_of
from pki import keystore

SCHEMA: Final = 1
FILE: Final = "view.json"
_PIECE: Final = 200


@dataclass(frozen=True, slots=True)
class Received:
    """What the hub has told: the newest of each kind.

    *judged* says whether it has told yet who may call, which may be that it says nothing of that.
    """

    federation: Federation
    members: Mapping[ClusterName, Member] = field(default_factory=dict)
    imports: Mapping[ServiceName, Import] = field(default_factory=dict)
    trusts: Mapping[str, TrustBundle] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose each address was last, by namespace and name, and when one passed from a workload to another."""

    last: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    handed_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class LastView:
    """What an agent starts with: what hub and source said last, and whose the addresses were."""

    received: Received
    offer: Offer
    owners: Owners = Owners()


@dataclass(frozen=True, slots=True)
class _File:
    schema: int
    federation: Federation
    members: tuple[Member, ...]
    imports: tuple[Import, ...]
    services: tuple[LocalService, ...]
    workloads: tuple[Workload, ...]
    gateways: tuple[GatewayRecord, ...]
    owners: tuple[tuple[str, str, str], ...] = ()
    handed_on: datetime | None = None
    trusts: tuple[TrustBundle, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    judged: bool = True  # so that a release that did not write it down is followed without an interruption


class _Schema(msgspec.Struct):
    schema: int


def encode(last: LastView, pause: float = 0.0) -> bytes:
    """The file's content.

    It is put together piece by piece, with *pause* seconds after each, as the encoder lets no other thread
    do anything meanwhile: ten thousand services are 20 ms.
    """
    content = bytearray()
    for piece in _pieces(last):
        content += piece
        if pause:
            time.sleep(pause)
    return bytes(content)


def _pieces(last: LastView) -> Iterator[bytes]:
    received, offer = last.received, last.offer
    yield b'{"schema":%d,"federation":%b' % (SCHEMA, msgspec.json.encode(received.federation))
    yield b',"judged":%b' % msgspec.json.encode(received.judged)
    yield b',"handed_on":%b' % msgspec.json.encode(last.owners.handed_on)
    lists: dict[str, Collection[object]] = {
        "members": received.members.values(),
        "imports": received.imports.values(),
        "trusts": received.trusts.values(),
        "verdicts": received.verdicts.values(),
        "services": offer.services.values(),
        "workloads": offer.workloads,
        "gateways": offer.gateways,
        "owners": [(address, *owner) for address, owner in last.owners.last.items()],
    }
    for name, values in lists.items():
        yield b',"%b":[' % name.encode()
        left = iter(values)
        comma = b""
        while some := list(islice(left, _PIECE)):
            yield comma + msgspec.json.encode(some)[1:-1]
            comma = b","
        yield b"]"
    yield b"}"


def decode(content: bytes, where: str) -> LastView:
    """Undo `encode`; raise UnreadableRecord for what another fedgate or a broken disk has left."""
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema > SCHEMA:
            raise UnreadableRecord(where, f"it is of schema {schema}", "start the fedgate that wrote it")
        file = msgspec.json.decode(content, type=_File)
    except (*UNDECODABLE, ClusterError) as error:
        hint = "move the file away: hub and source will tell everything again"
        raise UnreadableRecord(where, str(error), hint) from error
    members, imports = {m.name: m for m in file.members}, {i.service: i for i in file.imports}
    offer = Offer({s.service: s for s in file.services}, file.workloads, file.gateways)
    owners = {address: (namespace, name) for address, namespace, name in file.owners}
    trusts = {t.trust_domain: t for t in file.trusts}
    verdicts = {name_of(v): v for v in file.verdicts}
    received = Received(file.federation, members, imports, trusts, verdicts, file.judged)
    return LastView(received, offer, Owners(owners, file.handed_on))


def load(state: Path) -> LastView | None:
    """What *state* remembers; None at the first start."""
    path = state / FILE
    try:
        content = keystore.read(path)
    except FileNotFoundError:
        return None
    return decode(content, str(path))


def save(state: Path, last: LastView) -> None:
    """Remember *last*, whole or not at all, also when the power fails."""
    write(state, encode(last))


def write(state: Path, content: bytes) -> None:
    """Remember what `encode` gave."""
    keystore.write(state / FILE, content)


def forget(state: Path) -> None:
    """Remember nothing."""
    (state / FILE).unlink(missing_ok=True)
