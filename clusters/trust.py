"""What a cluster's agent says of the roots that it trusts, and how it proves that it trusts a new one.

It says `Trust` on the sync stream: what is on its disk, and what it has proved. To prove it, it opens a TLS
connection to the hub's HTTPS face by the name `PROVING_NAME`: the hub shows a chain of the new root, the
agent verifies it by that root alone, shows its own certificate, and says by which root it went:

    POST /v1/proof   Proof → Proven
"""

from typing import Annotated, Final

import msgspec

from clusters.admission import Instant

PROOF_PATH: Final = "/v1/proof"
PROVING_NAME: Final = "next.hub.fedgate.internal"
"""Who is asked for by this name shows a chain of the root that is to come."""

MOST_TOKENS: Final = 20

_Word = Annotated[str, msgspec.Meta(max_length=300)]


class UnusedToken(msgspec.Struct, frozen=True):
    """A token of a gateway that has yet to enrol, and that does not know the newest root."""

    id: _Word
    gateway: _Word
    expires: Instant


class Trust(msgspec.Struct, frozen=True):
    """What an agent trusts: `bundle` is the hash of all roots that it has on disk and uses.

    `proved` is the fingerprint of the root that it has proved to trust, and `reason` why it has not yet.
    `tokens` are those that have to be over before the older root ends: of very many, those that end last.
    """

    bundle: _Word
    proved: _Word = ""
    reason: _Word = ""
    tokens: Annotated[tuple[UnusedToken, ...], msgspec.Meta(max_length=MOST_TOKENS)] = ()


class Proof(msgspec.Struct, frozen=True):
    """The fingerprint of the root by which the hub's chain was verified."""

    root: str


class Proven(msgspec.Struct, frozen=True):
    """The proof has been written down."""

    root: str
