"""Join tokens at the hub: made once, used once, known by a hash."""

import hmac
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clusters.names import ClusterName
from federation.errors import ClusterEvicted, Contention, TokenRefused, UnknownToken
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.ledger import Ledger, Plan
from federation.registry.records import ClusterRecord, ClusterState, TokenRecord, TokenState
from federation.registry.store import Put, absent

KEPT = timedelta(days=30)
"""How long a token is still listed after its end."""


class Tokens:
    """The join tokens of the registry."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def add(self, token: TokenRecord) -> None:
        """Write down a new token; one that is there already is never written over.

        `ClusterEvicted` when its cluster was shut out.
        """
        key = keyspace.token(token.id)
        cluster = await self._ledger.read(keyspace.cluster(token.cluster), ClusterRecord)
        if cluster.record and cluster.record.state is ClusterState.EVICTED:
            raise ClusterEvicted(token.cluster)
        when = [absent(key), cluster.unchanged]
        if not (await self._ledger.store.commit([Put(key, encode(token))], when)).succeeded:
            raise Contention(f"join token {token.id}")

    async def list(self) -> list[TokenRecord]:
        """All tokens, the newest first."""
        held = await self._ledger.list(keyspace.TOKENS, TokenRecord)
        return sorted((h.record for h in held if h.record), key=lambda token: token.created, reverse=True)

    async def revoke(self, token_id: str, now: datetime) -> TokenRecord:
        """Make a token open no door any more. Revoking it again changes nothing; a used one is refused."""

        async def plan() -> Plan[TokenRecord]:
            held = await self._ledger.read(keyspace.token(token_id), TokenRecord)
            if held.record is None:
                raise UnknownToken(token_id)
            if held.record.used_at:
                raise TokenRefused(
                    token_id,
                    "token-used",
                    f"cluster {held.record.cluster} has joined with it, so there is nothing to revoke",
                    "run `fedgate leave` in that cluster if it should not be in the set",
                )
            if held.record.revoked_at:
                return Plan(held.record)
            revoked = replace(held.record, revoked_at=now)
            return Plan(revoked, [held.put(revoked)], [held.unchanged])

        return await self._ledger.transact(f"revocation of token {token_id}", plan)

    async def revoke_all(self, cluster: ClusterName, now: datetime) -> None:
        """Make every unused token for *cluster* open no door any more."""
        for token in await self.list():
            if token.cluster == cluster and token.state(now) is TokenState.UNUSED:
                with suppress(TokenRefused, UnknownToken):  # it was used, or forgotten, meanwhile
                    await self.revoke(token.id, now)

    async def forget(self, now: datetime) -> None:
        """Drop the tokens that ended long ago."""
        for held in await self._ledger.list(keyspace.TOKENS, TokenRecord):
            if held.record and now - held.record.ended_at > KEPT:
                await self._ledger.store.commit([held.delete()], [held.unchanged])


def admit(
    token: TokenRecord | None, token_id: str, secret_hash: str, cluster: ClusterName, now: datetime
) -> TokenRecord:
    """Check that whoever shows *token_id*, with a secret of that hash, may join as *cluster*.

    The secret comes first: who does not have it learns nothing about the token.
    """
    mint = f"make a new one at the hub: `fedgate token create {cluster}`"
    if token is None:
        raise TokenRefused(token_id, "token-unknown", "the hub does not know it", mint)
    if not hmac.compare_digest(token.secret_hash.encode(), secret_hash.encode()):
        raise TokenRefused(token_id, "secret-wrong", "its secret is not the one that the hub gave out", mint)
    if token.revoked_at:
        raise TokenRefused(token_id, "token-revoked", f"it was revoked at {_shown(token.revoked_at)}", mint)
    if token.used_at:
        reason = f"it was used at {_shown(token.used_at)}, and a token is good for one join"
        raise TokenRefused(token_id, "token-used", reason, mint)
    if now >= token.expires:
        raise TokenRefused(token_id, "token-expired", f"it expired at {_shown(token.expires)}", mint)
    if token.cluster != cluster:
        hint = f"join as {token.cluster}, or {mint}"
        raise TokenRefused(
            token_id, "token-wrong-cluster", f"it is for cluster {token.cluster}, not for {cluster}", hint
        )
    return token


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
