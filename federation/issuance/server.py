"""The issuance service on the wire: unary calls beside the sync stream, refused with a reason in JSON."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import grpc.aio
import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import ClusterError
from federation.audit import Audit
from federation.errors import Exit, FederationError
from federation.issuance.issuance import Issuance
from federation.issuance.messages import (
    RENEW,
    RETIRE,
    SERVICE,
    STANDING,
    Denied,
    RenewRequest,
    RetireRequest,
    StandingRequest,
)
from federation.log import Log
from gateway.rpc import Context, Peer, peer_of
from pki.errors import PkiError

log = Log(__name__)

Q = TypeVar("Q", bound=msgspec.Struct)

_STATUS = {
    Exit.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Exit.NOT_FOUND: grpc.StatusCode.PERMISSION_DENIED,
    Exit.CONFLICT: grpc.StatusCode.ABORTED,
}


def issuance_handler(issuance: Issuance, audit: Audit) -> grpc.GenericRpcHandler:
    """The service, for a server that knows its peers by their certificates."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            RENEW: _method(RenewRequest, issuance.renew, audit),
            STANDING: _method(StandingRequest, issuance.standing, audit),
            RETIRE: _method(RetireRequest, issuance.retire, audit),
        },
    )


def _method(
    kind: type[Q], answer: Callable[[Peer, Q], Awaitable[msgspec.Struct]], audit: Audit
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """One method: bytes in, bytes out, and everything that goes wrong told in one form."""

    async def serve(message: bytes, context: Context) -> bytes:
        peer = peer_of(context)
        try:
            return msgspec.json.encode(await answer(peer, msgspec.json.decode(message, type=kind)))
        except UNDECODABLE as error:
            denied = Denied("bad-request", f"not a {kind.__name__}: {error}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _detail(denied))
        except (FederationError, ClusterError, PkiError) as error:
            log.warning("issuance denied", peer=peer.address, id=str(peer.spiffe_id), reason=str(error))
            denied = _denied(error)
            told = {"what": "issuance", "code": denied.code, "reason": denied.reason}
            audit.record("denied", str(peer.spiffe_id), actor=peer.address, **told)
            await context.abort(_status(error), _detail(denied))

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(serve)
    return handler


def _status(error: Exception) -> grpc.StatusCode:
    exit_code = error.exit_code if isinstance(error, FederationError) else Exit.CHECK_FAILED
    return _STATUS.get(exit_code, grpc.StatusCode.UNAVAILABLE)


def _denied(error: FederationError | ClusterError | PkiError) -> Denied:
    code = error.code if isinstance(error, FederationError) else "cannot-issue"
    return Denied(code, str(error), error.hint)


def _detail(denied: Denied) -> str:
    return msgspec.json.encode(denied).decode()
