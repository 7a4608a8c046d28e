"""The agent's last view of the clusterset on disk, so that a cluster starts while the hub is away.

One JSON file, replaced as a whole. It holds what came from the hub and nothing secret; what the
cluster itself offers is in its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from clusters.model import ClusterName, Federation, Import, Member, ServiceName
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
class _File:
    schema: int
    federation: Federation
    members: tuple[Member, ...]
    imports: tuple[Import, ...]


def encode(received: Received) -> bytes:
    """The file's content."""
    members, imports = tuple(received.members.values()), tuple(received.imports.values())
    return msgspec.json.encode(_File(SCHEMA, received.federation, members, imports))


def decode(content: bytes, where: str) -> Received:
    """Undo `encode`; raise UnreadableRecord for what another fedgate or a broken disk has left."""
    try:
        schema = msgspec.json.decode(content, type=dict[str, object]).get("schema")
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            raise UnreadableRecord(
                where, f"schema {schema!r}", "start the fedgate that wrote it, or move the file away"
            )
        file = msgspec.json.decode(content, type=_File)
    except msgspec.DecodeError as error:
        raise UnreadableRecord(
            where, str(error), "move the file away: the hub will tell everything again"
        ) from error
    return Received(file.federation, {m.name: m for m in file.members}, {i.service: i for i in file.imports})


def load(state: Path) -> Received | None:
    """What *state* remembers; None at the first start."""
    path = state / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return decode(content, str(path))


def save(state: Path, received: Received) -> None:
    """Remember *received*, whole or not at all, also when the power fails."""
    keystore.write(state / FILE, encode(received))
