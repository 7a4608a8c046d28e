"""The agent's end of the issuance service: asks whichever hub answers, with the certificate it has then."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

import grpc
import grpc.aio
import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import JoinRefused
from clusters.reattest import reattest
from federation.errors import HubAway, IssuanceDenied
from federation.identity import Identity
from federation.issuance.messages import (
    RENEW,
    RETIRE,
    SERVICE,
    STANDING,
    Denied,
    Lagging,
    RenewAnswer,
    RenewRequest,
    RetireAnswer,
    RetireRequest,
    StandingAnswer,
    StandingRequest,
)
from federation.roots import Roots
from federation.whereabouts import Whereabouts
from gateway.rpc import TlsMaterial, channel_credentials
from pki.errors import PkiError
from pki.profile import HUB_DNS_NAME

_TIMEOUT: Final = 10.0
_OPTIONS: Final = (
    ("grpc.ssl_target_name_override", HUB_DNS_NAME),
    ("grpc.use_local_subchannel_pool", 1),
)
_SAID_NO: Final = {
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ABORTED,
}

A = TypeVar("A", bound=msgspec.Struct)


class HubIssuance:
    """The hub, for whoever renews an issuing CA. HubAway if none answers, IssuanceDenied if it says no."""

    def __init__(
        self,
        identity: Identity,
        roots: Roots,
        material: Callable[[], TlsMaterial],
        now: Callable[[], datetime],
        hubs: Whereabouts,
    ) -> None:
        self._hubs = hubs
        self._identity = identity
        self._roots = roots
        self._material = material
        self._now = now

    async def renew(self, csr: str) -> tuple[str, ...]:
        """The chain of the issuing CA for the key that *csr* is signed with, each PEM."""
        return (await self._ask(RENEW, RenewRequest(csr, self._now()), RenewAnswer)).chain

    async def reattest(self, csr: str) -> tuple[str, ...]:
        """The same for a cluster whose issuing CA has ended: its key alone says who it is."""
        try:
            membership = replace(self._identity.membership, join=self._hubs.join())
            known = replace(self._identity.kept, roots=self._roots.certificates, membership=membership)
            return await asyncio.to_thread(reattest, known, csr, self._now)
        except JoinRefused as error:
            if error.code in {"unreachable", "answer-lost"}:
                raise HubAway(str(error)) from error
            raise IssuanceDenied(error.code, str(error), error.hint) from error

    async def standing(self, anchor: str) -> tuple[Lagging, ...]:
        """Who has not acknowledged *anchor* yet."""
        return (await self._ask(STANDING, StandingRequest(anchor), StandingAnswer)).lagging

    async def retire(self, anchor: str) -> None:
        """Have *anchor* taken away."""
        await self._ask(RETIRE, RetireRequest(anchor, self._now()), RetireAnswer)

    async def _ask(self, method: str, request: msgspec.Struct, answer: type[A]) -> A:
        try:
            credentials = channel_credentials(self._material())
        except PkiError as error:
            raise HubAway(f"there is no certificate to show to it: {error}") from error
        reasons = []
        for address in self._hubs.sync():
            try:
                return msgspec.json.decode(await _call(address, credentials, method, request), type=answer)
            except grpc.aio.AioRpcError as error:
                if error.code() in _SAID_NO:
                    raise _denied(error) from error
                reasons.append(f"{address}: {error.details() or error.code().name}")
            except UNDECODABLE as error:
                reasons.append(f"{address}: an answer that is not understood here: {error}")
        raise HubAway("; ".join(reasons))


async def _call(
    address: str, credentials: grpc.ChannelCredentials, method: str, request: msgspec.Struct
) -> bytes:
    async with grpc.aio.secure_channel(address, credentials, options=_OPTIONS) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/{method}")
        return await call(msgspec.json.encode(request), timeout=_TIMEOUT)


def _denied(error: grpc.aio.AioRpcError) -> IssuanceDenied:
    details = error.details() or ""
    try:
        told = msgspec.json.decode(details, type=Denied)
    except UNDECODABLE:
        return IssuanceDenied("denied", details or error.code().name)
    return IssuanceDenied(told.code, told.reason, told.hint)
