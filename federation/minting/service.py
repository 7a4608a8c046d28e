"""The agent's issuance service: SVIDs of this cluster's workloads, one or many in a call.

Who may use `issuance.sock` may have them; the file's mode is the guard, as it is for `ads.sock`. No
certificate opens this door from another machine: with one, each gateway could speak for every workload.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, TypeVar

import grpc
import msgspec

from clusters.decoding import UNDECODABLE
from federation.audit import Audit
from federation.errors import Exit, FederationError, IssuanceRefused
from federation.log import Log
from federation.minting.messages import (
    ISSUE,
    ISSUE_BATCH,
    SERVICE,
    BatchAnswer,
    BatchRequest,
    Denied,
    IssueAnswer,
    IssueRequest,
    Item,
)
from federation.minting.signing import Asked, Signed
from federation.minting.workers import Workers
from gateway.rpc import Context, UnixListener, answering
from pki.authority import Authority, to_pem
from pki.errors import PkiError

log = Log(__name__)

Q = TypeVar("Q", bound=msgspec.Struct)

_AT_ONCE: Final = 64
_AMONG: Final = 10
_STATUS: Final = {
    Exit.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Exit.USAGE: grpc.StatusCode.INVALID_ARGUMENT,
}


class Minting:
    """Answers for SVIDs. *barred* says why an identity is given none, or nothing."""

    def __init__(
        self,
        workers: Workers,
        barred: Callable[[str], str],
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self.tally = Counter[str]()
        self._workers = workers
        self._barred = barred
        self._audit = audit
        self._now = now

    def serving(self, listener: UnixListener) -> AbstractAsyncContextManager[None]:
        """Serve on *listener* until the block is left."""
        methods = {
            ISSUE: _method(IssueRequest, self.issue),
            ISSUE_BATCH: _method(BatchRequest, self.issue_batch),
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, methods)
        return answering(handler, listener, at_once=_AT_ONCE)

    async def issue(self, request: IssueRequest) -> IssueAnswer:
        """One SVID; IssuanceRefused says why not."""
        authority, (signed,) = await self._signed((request,))
        if not signed.certificate:
            raise IssuanceRefused(signed.code, signed.reason)
        return IssueAnswer((signed.certificate, *_above(authority)))

    async def issue_batch(self, request: BatchRequest) -> BatchAnswer:
        """Many SVIDs: for each request one, or why not."""
        authority, signed = await self._signed(request.items)
        return BatchAnswer(tuple(map(_item, signed)), _above(authority))

    async def _signed(self, requests: Sequence[IssueRequest]) -> tuple[Authority, Sequence[Signed]]:
        """What becomes of each, and who signed; those that are barred take no worker's time."""
        barred = [self._barred(request.spiffe_id) for request in requests]
        asked = [
            Asked(request.spiffe_id, request.csr)
            for request, reason in zip(requests, barred, strict=True)
            if not reason
        ]
        authority, done = await self._workers.sign(asked, self._now())
        following = iter(done)
        signed = [Signed(code="revoked", reason=reason) if reason else next(following) for reason in barred]
        self._tell(requests, signed)
        return authority, signed

    def _tell(self, requests: Sequence[IssueRequest], signed: Sequence[Signed]) -> None:
        """Write down what was issued and what was not: one entry of each for a call."""
        for action, happened in (("issued", True), ("denied", False)):
            found = [
                (request.spiffe_id, each)
                for request, each in zip(requests, signed, strict=True)
                if bool(each.certificate) is happened
            ]
            self.tally[action] += len(found)
            if not found:
                continue
            _, first = found[0]
            told = {"what": "SVID by the issuance socket", "count": str(len(found)), "serial": first.serial}
            if not happened:
                told |= {"code": first.code, "reason": first.reason}
            self._audit.record(action, " ".join(name for name, _ in found[:_AMONG]), **told)


def _above(authority: Authority) -> tuple[str, ...]:
    return tuple(to_pem([certificate]) for certificate in authority.chain)


def _item(signed: Signed) -> Item:
    return Item(signed.certificate) if signed.certificate else Item("", Denied(signed.code, signed.reason))


def _method(
    kind: type[Q], answer: Callable[[Q], Awaitable[msgspec.Struct]]
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """One method: bytes in, bytes out, and everything that goes wrong told in one form."""
    decode = msgspec.json.Decoder(kind).decode

    async def serve(message: bytes, context: Context) -> bytes:
        try:
            return msgspec.json.encode(await answer(decode(message)))
        except UNDECODABLE as error:
            denied = Denied("bad-request", f"not a {kind.__name__}: {error}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _detail(denied))
        except FederationError as error:
            status = _STATUS.get(error.exit_code, grpc.StatusCode.UNAVAILABLE)
            await context.abort(status, _detail(Denied(error.code, str(error), error.hint)))
        except PkiError as error:
            log.error("nothing can be signed", reason=str(error))
            denied = Denied("cannot-issue", str(error), error.hint)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, _detail(denied))

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(serve)
    return handler


def _detail(denied: Denied) -> str:
    return msgspec.json.encode(denied).decode()
