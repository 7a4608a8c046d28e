"""Records as bytes: JSON that says by which schema it was written.

A record of an older schema, with fields missing that came later, is read with their defaults, and
fields that are unknown here are ignored. Only a change that an older fedgate would misread gets a
new schema number; an older fedgate then refuses such a record instead of guessing.
"""

from typing import TypeVar

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import ClusterError
from federation.errors import UnreadableRecord

SCHEMA = 1

T = TypeVar("T")


class _Envelope(msgspec.Struct):
    schema: int
    record: msgspec.Raw = msgspec.Raw()


def encode(record: object) -> bytes:
    """Write *record* by the schema of this fedgate."""
    return msgspec.json.encode(_Envelope(SCHEMA, msgspec.Raw(msgspec.json.encode(record))))


def decode(what: str, body: bytes, kind: type[T]) -> T:
    """Read a record of *kind*; *what* names it in the error that says why it cannot be read."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        if not 1 <= envelope.schema <= SCHEMA:
            raise UnreadableRecord(
                what,
                f"it has schema {envelope.schema}, and this fedgate knows 1 to {SCHEMA}",
                "run the hub with the fedgate that wrote it, or a newer one",
            )
        return msgspec.json.decode(envelope.record, type=kind)
    except (*UNDECODABLE, ClusterError) as error:
        raise UnreadableRecord(what, str(error)) from error
