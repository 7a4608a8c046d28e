"""The agent's last view of the clusterset on disk, so that a cluster starts while the hub is away.

One JSON file, replaced as a whole. It holds what came from the hub, and the newest good offer of the
source, for a start with a broken one. Nothing in it is secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import ClusterError
from clusters.model import (
    ClusterName,
    Federation,
    GatewayRecord,
    Import,
    LocalService,
    Member,
    Offer,
    ServiceName,
    Workload,
)
from federation.errors import UnreadableRecord
from pki import keystore

SCHEMA: Final = 1
FILE: Final = "view.json"


@dataclass(frozen=True, slots=True)
class Received:
    """What the hub has told: the newest of each kind."""

    federation: Federation
    members: Mapping[ClusterName, Member] = field(default_factory=dict)
    imports: Mapping[ServiceName, Import] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LastView:
    """What an agent starts with while hub or source are not there: what they said last."""

    received: Received
    offer: Offer


@dataclass(frozen=True, slots=True)
class _File:
    schema: int
    federation: Federation
    members: tuple[Member, ...]
    imports: tuple[Import, ...]
    services: tuple[LocalService, ...]
    workloads: tuple[Workload, ...]
    gateways: tuple[GatewayRecord, ...]


class _Schema(msgspec.Struct):
    schema: int


def encode(last: LastView) -> bytes:
    """The file's content."""
    received, offer = last.received, last.offer
    return msgspec.json.encode(
        _File(
            SCHEMA,
            received.federation,
            tuple(received.members.values()),
            tuple(received.imports.values()),
            tuple(offer.services.values()),
            offer.workloads,
            offer.gateways,
        )
    )


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
    return LastView(Received(file.federation, members, imports), offer)


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
    keystore.write(state / FILE, encode(last))


def forget(state: Path) -> None:
    """Remember nothing."""
    (state / FILE).unlink(missing_ok=True)
