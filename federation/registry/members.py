"""Who is in the clusterset: joining, being there, leaving, being shut out."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from clusters.jwt_key import JwtKeys
from clusters.names import ClusterName
from clusters.revoked import Revoked
from federation.errors import (
    ClusterEvicted,
    ClusterExists,
    IssuanceDenied,
    NotEvicted,
    Superseded,
    UnknownCluster,
)
from federation.registry import keyspace
from federation.registry.ledger import Held, Ledger, Plan
from federation.registry.offers import Offers
from federation.registry.records import (
    AliveRecord,
    AwayRecord,
    ClusterRecord,
    ClusterState,
    StatusRecord,
    TokenRecord,
)
from federation.registry.store import Delete, LeaseId
from federation.registry.tokens import Tokens, admit
from pki.authority import from_pem, to_pem
from pki.bundle import fingerprint_of
from pki.csr import VerifiedCsr
from pki.lifetimes import GRACE
from pki.rotation import Validity

MAX_ANCHORS: Final = 64
"""A cluster has one issuing CA, two while it changes, and more only if it is told to change all the time."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a cluster shows at the door. With *rejoin* it means to replace the cluster of that name."""

    token_id: str
    secret_hash: str
    cluster: ClusterName
    rejoin: bool = False


class Members:
    """The clusters of the registry."""

    def __init__(self, ledger: Ledger, offers: Offers, tokens: Tokens) -> None:
        self._ledger = ledger
        self._offers = offers
        self._tokens = tokens
        self._revoking: set[asyncio.Task[None]] = set()

    async def list(self) -> list[ClusterRecord]:
        """All members, by name."""
        held = await self._ledger.list(keyspace.CLUSTERS, ClusterRecord)
        return [h.record for h in held if h.record and h.record.state is ClusterState.ACTIVE]

    async def get(self, name: ClusterName) -> ClusterRecord:
        """One member; `UnknownCluster` when it is none, `ClusterEvicted` when it was shut out."""
        return _active(name, await self._read(name))

    # --- joining

    async def may_join(self, request: JoinRequest, now: datetime) -> None:
        """Say no as `join` would: ask before signing anything. A yes promises nothing yet."""
        await self._admitted(request, now)

    async def join(
        self, request: JoinRequest, trust_domain: str, anchor: str, now: datetime
    ) -> ClusterRecord:
        """Spend the token and write the cluster down, known by *anchor* alone, in one transaction.

        Of two that show the same token one gets in; the other one is told that it was used.
        """
        record = ClusterRecord(request.cluster, trust_domain, (anchor,), now)

        async def plan() -> Plan[ClusterRecord]:
            token, held, cluster = await self._admitted(request, now)
            spent = held.put(replace(token, used_at=now))
            # Whoever had the name before speaks for it no more, by JWT-SVIDs either.
            told = _told_beside(request.cluster)
            return Plan(record, [spent, cluster.put(record), *told], [held.unchanged, cluster.unchanged])

        return await self._ledger.transact(f"join of cluster {request.cluster}", plan)

    async def _admitted(
        self, request: JoinRequest, now: datetime
    ) -> tuple[TokenRecord, Held[TokenRecord], Held[ClusterRecord]]:
        # The cluster first: a join that comes between the reads has spent the token by the second one, and
        # whoever shows the same token is then told so, and not that the name is taken.
        cluster = await self._read(request.cluster)
        held = await self._ledger.read(keyspace.token(request.token_id), TokenRecord)
        token = admit(held.record, request.token_id, request.secret_hash, request.cluster, now)
        if cluster.record and cluster.record.state is ClusterState.LEAVING:
            await self._sweep(request.cluster, now)
            return await self._admitted(request, now)
        if cluster.record and cluster.record.state is ClusterState.EVICTED:
            raise ClusterEvicted(request.cluster)
        if cluster.record and not request.rejoin:
            raise ClusterExists(request.cluster)
        return token, held, cluster

    # --- its issuing CAs

    async def set_anchors(self, name: ClusterName, anchors: tuple[str, ...]) -> ClusterRecord:
        """Replace the issuing CAs by which the cluster's SVIDs are known."""

        async def plan() -> Plan[ClusterRecord]:
            held = await self._read(name)
            record = replace(_active(name, held), anchors=anchors)
            return Plan(record, [held.put(record)], [held.unchanged])

        return await self._ledger.transact(f"anchors of cluster {name}", plan)

    async def jwt_keys(self, name: ClusterName) -> JwtKeys | None:
        """The keys by which the cluster's JWT-SVIDs are known; None if it never told of any."""
        return (await self._ledger.read(keyspace.jwt_keys(name), JwtKeys)).record

    async def set_jwt_keys(self, name: ClusterName, keys: JwtKeys) -> None:
        """Write down the keys by which the cluster's JWT-SVIDs are known, instead of those before."""
        await self._replace(name, keyspace.jwt_keys(name), keys)

    async def revoked(self, name: ClusterName) -> Revoked | None:
        """The workloads of the cluster that are nobody now; None if it never told of any."""
        return (await self._ledger.read(keyspace.revoked(name), Revoked)).record

    async def set_revoked(self, name: ClusterName, revoked: Revoked) -> bool:
        """Write down which workloads of the cluster are nobody, not those before; whether that is news."""
        return await self._replace(name, keyspace.revoked(name), revoked)

    async def _replace(self, name: ClusterName, key: str, record: JwtKeys | Revoked) -> bool:
        """Have *record* under *key*, which is of the cluster's own, as long as that is a member.

        Gives whether another was there, or none.
        """

        async def plan() -> Plan[bool]:
            member = await self._read(name)
            _active(name, member)
            held = await self._ledger.read(key, type(record))
            if held.record == record:
                return Plan(False)
            return Plan(True, [held.put(record)], [member.unchanged])

        return await self._ledger.transact(f"{key} of cluster {name}", plan)

    async def add_anchor(
        self,
        name: ClusterName,
        key: VerifiedCsr,
        admitted: Callable[[ClusterRecord], None],
        sign: Callable[[], Awaitable[tuple[str, ...]]],
        now: datetime,
        grace: timedelta = GRACE,
    ) -> tuple[tuple[str, ...], bool]:
        """Have an issuing CA signed for *key* and write it down; gives its chain, PEM, and whether it is new.

        What has been signed for *key* before is given again. *admitted* raises for a record by which the
        caller is not let in; it is asked of the very record that is replaced. Anchors that ended more than
        *grace* ago go: their keys do not even prove any more whose they were.
        """
        signed: tuple[str, ...] = ()

        async def plan() -> Plan[tuple[tuple[str, ...], bool]]:
            nonlocal signed
            held = await self._read(name)
            record = _active(name, held)
            admitted(record)
            for chain in record.anchors:
                certificates = from_pem(chain)
                if certificates[0].public_key() == key:
                    if not Validity.of(certificates[0]).covers(now):
                        reason = f"its issuing CA was valid until {certificates[0].not_valid_after_utc}"
                        raise IssuanceDenied("key-used", f"this key had its time: {reason}", "make a new key")
                    return Plan((tuple(to_pem([c]) for c in certificates), False))
            kept = tuple(chain for chain in record.anchors if _ends(chain) + grace > now)
            if len(kept) >= MAX_ANCHORS:
                reason = f"{name} has {MAX_ANCHORS} issuing CAs"
                raise IssuanceDenied(
                    "too-many-anchors", reason, "wait until what the oldest signed has ended"
                )
            signed = signed or await sign()
            anchors = (*kept, "".join(signed))
            return Plan((signed, True), [held.put(replace(record, anchors=anchors))], [held.unchanged])

        return await self._ledger.transact(f"issuing CA of cluster {name}", plan)

    async def retire_anchor(
        self, name: ClusterName, fingerprint: str, admitted: Callable[[ClusterRecord], None]
    ) -> ClusterRecord:
        """Take away the anchor with the SHA-256 *fingerprint*, in hex; one that is gone already is no error.

        *admitted* raises if the caller would not be let in any more by the record without it.
        """

        async def plan() -> Plan[ClusterRecord]:
            held = await self._read(name)
            record = _active(name, held)
            left = tuple(chain for chain in record.anchors if fingerprint_of(chain) != fingerprint)
            after = replace(record, anchors=left)
            admitted(after)
            if left == record.anchors:
                return Plan(record)
            return Plan(after, [held.put(after)], [held.unchanged])

        return await self._ledger.transact(f"anchors of cluster {name}", plan)

    # --- being there

    async def seen(self, name: ClusterName, status: StatusRecord) -> None:
        """Write down what was last seen of the cluster: when it comes and goes, and now and then between."""

        async def plan() -> Plan[None]:
            member = await self._read(name)
            _active(name, member)
            held = await self._ledger.read(keyspace.status(name), StatusRecord)
            return Plan(None, [held.put(status)], [member.unchanged])

        await self._ledger.transact(f"status of cluster {name}", plan)

    async def connect(
        self, name: ClusterName, ttl: float, alive: AliveRecord, *, again: bool = False
    ) -> LeaseId:
        """Say that the cluster is connected, for *ttl* seconds unless the lease is kept alive.

        When an older connection is still held to be there, the mark passes to the new one. One that says so
        *again*, as its lease was lost, raises Superseded if another connection has taken over.
        """
        lease = await self._ledger.store.grant(ttl)

        async def plan() -> Plan[LeaseId]:
            member = await self._read(name)
            _active(name, member)
            held = await self._ledger.read(keyspace.alive(name), AliveRecord)
            if again and held.record not in (None, alive):
                raise Superseded
            back = Delete(keyspace.away(name))
            return Plan(lease, [held.put(alive, lease), back], [member.unchanged, held.unchanged])

        try:
            return await self._ledger.transact(f"connection of cluster {name}", plan)
        except BaseException:
            revoking = asyncio.create_task(self._ledger.store.revoke(lease))
            self._revoking.add(revoking)
            revoking.add_done_callback(self._revoking.discard)
            await asyncio.shield(revoking)
            raise

    async def keep_alive(self, lease: LeaseId) -> None:
        """The cluster is still there; `LeaseNotFound` when it was given up: connect again."""
        await self._ledger.store.keep_alive(lease)

    async def disconnect(self, lease: LeaseId) -> None:
        """The connection is over."""
        await self._ledger.store.revoke(lease)

    async def miss(self, name: ClusterName, now: datetime) -> None:
        """Say that the cluster is away, unless it is connected or that was said before."""

        async def plan() -> Plan[None]:
            member = await self._read(name)
            _active(name, member)
            alive = await self._ledger.read(keyspace.alive(name), AliveRecord)
            held = await self._ledger.read(keyspace.away(name), AwayRecord)
            if alive.record is not None or held.record is not None:
                return Plan(None)
            when = [member.unchanged, alive.unchanged, held.unchanged]
            return Plan(None, [held.put(AwayRecord(now))], when)

        await self._ledger.transact(f"absence of cluster {name}", plan)

    # --- leaving

    async def leave(self, name: ClusterName, now: datetime) -> None:
        """Take the cluster out, at once, and then sweep up what it left. Safe to repeat after a crash."""

        async def plan() -> Plan[None]:
            held = await self._read(name)
            if held.record is None:
                raise UnknownCluster(name)
            if held.record.state is ClusterState.EVICTED:  # else it could free its name by leaving
                raise ClusterEvicted(name)
            leaving = replace(held.record, state=ClusterState.LEAVING)
            return Plan(None, [held.put(leaving)], [held.unchanged])

        await self._ledger.transact(f"leave of cluster {name}", plan)
        await self._sweep(name, now)

    async def finish_leaving(self, now: datetime) -> None:
        """Sweep up after the clusters whose leave was cut short."""
        for held in await self._ledger.list(keyspace.CLUSTERS, ClusterRecord):
            if held.record and held.record.state is ClusterState.LEAVING:
                await self._sweep(held.record.name, now)

    # --- being shut out

    async def evict(self, name: ClusterName, now: datetime) -> ClusterRecord:
        """Shut the cluster out, whether or not it answers. Doing it again changes nothing.

        It is no member from now on, none of its tokens is good, and its name is barred. What it offered stays
        written down, without effect. `UnknownCluster` when it is no member.
        """

        async def plan() -> Plan[ClusterRecord]:
            held = await self._read(name)
            if held.record and held.record.state is ClusterState.EVICTED:
                return Plan(held.record)
            evicted = replace(_active(name, held), state=ClusterState.EVICTED, evicted_at=now)
            alive = await self._ledger.read(keyspace.alive(name), AliveRecord)
            return Plan(evicted, [held.put(evicted), alive.delete()], [held.unchanged])

        evicted = await self._ledger.transact(f"eviction of cluster {name}", plan)
        await self._tokens.revoke_all(name, now)
        return evicted

    async def readmit(self, name: ClusterName, now: datetime) -> None:
        """Let the name of an evicted cluster be joined under again, by a new token.

        What the old cluster had is swept up: neither its issuing CAs nor its tokens open anything again.
        """
        await self._tokens.revoke_all(name, now)  # again: an eviction may have been cut short

        async def plan() -> Plan[None]:
            held = await self._read(name)
            if held.record is None or held.record.state is ClusterState.LEAVING:
                raise UnknownCluster(name)
            if held.record.state is not ClusterState.EVICTED:
                raise NotEvicted(name)
            leaving = replace(held.record, state=ClusterState.LEAVING)
            return Plan(None, [held.put(leaving)], [held.unchanged])

        await self._ledger.transact(f"readmission of cluster {name}", plan)
        await self._sweep(name, now)

    async def _sweep(self, name: ClusterName, now: datetime) -> None:
        """The cluster's own record goes last, so that a sweep that is cut short is taken up again."""
        with suppress(UnknownCluster):  # another hub has swept up before us
            await self._offers.withdraw_all(name, now)

        async def plan() -> Plan[None]:
            held = await self._read(name)
            if held.record is None or held.record.state is not ClusterState.LEAVING:
                return Plan(None)
            status = await self._ledger.read(keyspace.status(name), StatusRecord)
            alive = await self._ledger.read(keyspace.alive(name), AliveRecord)
            gone = [held.delete(), status.delete(), alive.delete(), *_told_beside(name)]
            return Plan(None, gone, [held.unchanged])

        await self._ledger.transact(f"leave of cluster {name}", plan)

    async def _read(self, name: ClusterName) -> Held[ClusterRecord]:
        return await self._ledger.read(keyspace.cluster(name), ClusterRecord)


def _active(name: ClusterName, held: Held[ClusterRecord]) -> ClusterRecord:
    """The record of a member; `UnknownCluster` when it is none, or is leaving."""
    if held.record and held.record.state is ClusterState.EVICTED:
        raise ClusterEvicted(name)
    if held.record is None or held.record.state is not ClusterState.ACTIVE:
        raise UnknownCluster(name)
    return held.record


def _told_beside(name: ClusterName) -> list[Delete]:
    """What takes away what is known of a cluster alone, and of nobody else by it."""
    keys = (keyspace.jwt_keys, keyspace.revoked, keyspace.away, keyspace.withheld, keyspace.accepted)
    return [Delete(key(name)) for key in keys]


def _ends(chain: str) -> datetime:
    """When the first certificate of *chain*, PEM, ends."""
    return from_pem(chain)[0].not_valid_after_utc
