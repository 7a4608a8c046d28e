"""What the agent's issuance service is asked and answers: JSON bodies of unary calls on `issuance.sock`.

    /fedgate.issuance.v1.Issuance/Issue        IssueRequest → IssueAnswer
    /fedgate.issuance.v1.Issuance/IssueBatch   BatchRequest → BatchAnswer
    a refusal of the whole call                a gRPC status whose detail is a `Denied`

Certificates and requests are PEM. `chain` leads from the SVID up to, and without, the root.
"""

from typing import Annotated, Final

import msgspec

SERVICE: Final = "fedgate.issuance.v1.Issuance"
ISSUE: Final = "Issue"
ISSUE_BATCH: Final = "IssueBatch"
MOST_IN_BATCH: Final = 1000


class IssueRequest(msgspec.Struct, frozen=True):
    """An SVID for *spiffe_id* is wanted, for the key that *csr* is signed with."""

    spiffe_id: Annotated[str, msgspec.Meta(max_length=2048)]
    csr: Annotated[str, msgspec.Meta(max_length=8192)]


class IssueAnswer(msgspec.Struct, frozen=True):
    """The SVID, and what leads from there up to the root."""

    chain: tuple[str, ...]


class BatchRequest(msgspec.Struct, frozen=True):
    """SVIDs are wanted, `MOST_IN_BATCH` at most."""

    items: Annotated[tuple[IssueRequest, ...], msgspec.Meta(max_length=MOST_IN_BATCH)]


class Denied(msgspec.Struct, frozen=True):
    """Why not: a code for programs, a sentence for people, and what to do."""

    code: str
    reason: str
    hint: str = ""


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one request: a certificate, or why there is none."""

    certificate: str = ""
    denied: Denied | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """An item for each request, in its order; *above* leads from each certificate up to the root."""

    items: tuple[Item, ...]
    above: tuple[str, ...]
