"""The messages of the sync stream, and which versions of it understand each other.

The agent opens with `Hello`, the hub answers `Welcome` or `Bye`; then either side asks (`Ask`) for what the
other publishes and is told (`Tell`). A field that is unknown here came with a newer fedgate and is ignored.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.names import ClusterName
from federation.errors import SyncRefused
from federation.sync.turns import Turns
from gateway.delta import Request, Response

# How frames follow each other, and what records mean. A release raises either by one at most.
PROTOCOL: Final = 1
SCHEMA: Final = 1

Clock: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
# What the hub writes down and shows of every agent.
_Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=100)]
_Ranges: TypeAlias = Annotated[tuple[_Word, ...], msgspec.Meta(max_length=16)]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Who the agent is, what it speaks, what time it has, and the VIP ranges of its own, if any."""

    cluster: ClusterName
    clock: Clock
    version: _Word = ""
    protocol: int = PROTOCOL
    schema: int = SCHEMA
    vip_ranges: _Ranges = ()


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The hub's answer to a hello that it accepts."""

    clock: Clock
    version: str = ""
    protocol: int = PROTOCOL
    schema: int = SCHEMA
    digests: bool = False
    """Whether it can be said in a word what the agent has."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Subscribes, or answers what was told."""

    request: Request


class Tell(msgspec.Struct, frozen=True, tag="tell"):
    """What is new to the other side."""

    response: Response


class Again(msgspec.Struct, frozen=True, tag="again"):
    """Wants to be told in full what the other side has of *kind*: the word for it says nothing here."""

    kind: str


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """Why this side hangs up: `code` for programs, `reason` and `hint` for people."""

    code: str
    reason: str
    hint: str = ""


Frame: TypeAlias = Hello | Welcome | Ask | Tell | Again | Bye

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Put *frame* on the wire."""
    return _encoder.encode(frame)


def decode(message: bytes) -> Frame:
    """Undo `encode`; raise SyncRefused for what is not a frame."""
    try:
        return _decoder.decode(message)
    except UNDECODABLE as error:
        raise SyncRefused("bad-frame", f"not a message of this protocol: {error}") from error


def check_versions(
    who: str, theirs: Hello | Welcome, *, protocol: int = PROTOCOL, schema: int = SCHEMA
) -> None:
    """Refuse a peer, *who*, that is more than one version away from ours, with what to do about it."""
    for what, their, our in (("protocol", theirs.protocol, protocol), ("schema", theirs.schema, schema)):
        if abs(their - our) > 1 or their < 1:
            older = f"the {who}" if their < our else "this side"
            raise SyncRefused(
                f"{what}-unsupported",
                f"the {who} (fedgate {theirs.version or 'unknown'}) speaks {what} {their}, this side {our}:"
                " they may differ by one",
                f"upgrade {older}, one release at a time",
            )


async def decoded(messages: AsyncIterator[bytes], turns: Turns) -> AsyncIterator[Frame]:
    """The frames that *messages* are; each is read in its turn."""
    async for message in messages:
        await turns.take()
        yield decode(message)
