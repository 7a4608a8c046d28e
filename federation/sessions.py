"""The hub's end of every agent's stream: who is let in, and what is taken from whom.

What an agent says goes into the registry under its own cluster's name, which is the one in its certificate.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from secrets import token_hex
from time import monotonic
from typing import Final

from clusters.admission import SKEW_REFUSED
from clusters.model import MAX_GATEWAYS
from clusters.names import ClusterName
from clusters.reports import Anchors, Probes
from clusters.revoked import Revoked
from clusters.trust import Trust
from clusters.withheld import Withheld
from federation.audit import Audit
from federation.broadcast import Broadcast
from federation.doorkeeper import Doorkeeper
from federation.errors import FederationError, Superseded, SyncRefused
from federation.hearing import Bodies, Hearing, Refused, jwt_keys, of_itself, read
from federation.log import Log
from federation.quota import CONNECTION, Account, Rate, weight
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.grants import Limits
from federation.registry.records import AliveRecord, ClusterRecord, StatusRecord
from federation.registry.registry import Registry
from federation.registry.store import Compare, LeaseId
from federation.sync import records
from federation.sync.exchange import Session
from federation.sync.frames import Hello
from federation.sync.turns import Turns
from gateway.rpc import Peer

log = Log(__name__)

LEASE_SECONDS: Final = 9.0
_HEARTBEAT: Final = LEASE_SECONDS / 3
_SOON: Final = 1.0
_CHECKED_AGAIN: Final = timedelta(seconds=30)  # to see that nothing in the chain has run out meanwhile


class Sessions:
    """Lets agents in and writes down what they say."""

    def __init__(
        self,
        registry: Registry,
        broadcast: Broadcast,
        now: Callable[[], datetime],
        doorkeeper: Doorkeeper,
        audit: Audit,
        turns: Turns,
    ) -> None:
        self._turns = turns
        self._registry = registry
        self._broadcast = broadcast
        self._now = now
        self._doorkeeper = doorkeeper
        self._audit = audit
        self._open: dict[ClusterName, AliveRecord] = {}
        self._limited: dict[ClusterName, Limits] = {}
        self._rates: dict[ClusterName, Rate] = {}
        self._partings: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def session(self, peer: Peer, hello: Hello) -> AsyncIterator[Session]:
        """One agent's session, for as long as its connection; SyncRefused for who is not a member's agent.

        It may be that the agent has come here from another hub, which has not noticed. From the mark of this
        connection on nothing is written any more that comes by the former one. And the agent is told
        nothing before this hub knows all that any hub knew when it came.
        """
        checked, since = await self._admitted(peer, hello), self._now()
        cluster, skew = hello.cluster, self._skew(hello)

        async def accept(kind: str, changes: Mapping[str, bytes | None]) -> Refused:
            limits = self._broadcast.judge.grants.limits
            refused = account.refused(kind, changes, limits)
            if refused:
                self._limited[cluster] = limits
            await self._slowed(cluster, weight(changes))
            # Whoever joined again under this name since then is another, and this one speaks for nobody.
            nonlocal checked, since
            record, now = await self._doorkeeper.record(cluster), self._now()
            if record != checked or now - since > _CHECKED_AGAIN:
                with self._told_of_denial(peer, cluster):
                    self._doorkeeper.check(peer, record)
                checked, since = record, now
            refused |= await self._accept(registry, hearing, cluster, kind, _without(changes, refused))
            account.took(kind, _without(changes, refused))
            hearing.refuse(cluster, kind, refused)
            if kind == records.LEAVE and changes:
                self._audit.record("left", cluster, actor=peer.address)
                raise SyncRefused(records.LEFT, f"{cluster} has left the clusterset")
            return refused

        await self._slowed(cluster, CONNECTION)
        alive = AliveRecord(self._now(), token_hex(8))
        mark = Compare(keyspace.alive(cluster), value=encode(alive))
        registry = self._registry.guarded(mark, Superseded)
        hearing = Hearing(registry, lambda: self._broadcast.judge, self._audit, self._now)
        lease = await self._registry.members.connect(cluster, LEASE_SECONDS, alive)
        heartbeat = asyncio.create_task(self._heartbeat(hello, skew, alive, lease))
        try:
            await self._broadcast.known(cluster, alive)
            account, held = await self._known(cluster)
            self._open[cluster] = alive
            yield Session(self._broadcast.facing(cluster), accept, held)
        finally:
            if self._open.get(cluster) == alive:
                del self._open[cluster]
                self._limited.pop(cluster, None)
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat

    def superseded(self, clusters: Iterable[ClusterName]) -> Iterator[ClusterName]:
        """Those of *clusters* that have a session here, and a newer one at another hub."""
        for cluster in clusters:
            now = self._broadcast.alive(cluster)
            if cluster in self._open and now is not None and now != self._open[cluster]:
                yield cluster

    def relieved(self) -> tuple[ClusterName, ...]:
        """Those that were refused something by limits that are others now: let them say it again."""
        limits = self._broadcast.judge.grants.limits
        return tuple(cluster for cluster, by in self._limited.items() if by != limits)

    async def admit(self, peer: Peer, hello: Hello) -> None:
        """Raise SyncRefused for who is not a member's agent, or has another time than we have."""
        await self._admitted(peer, hello)

    async def _admitted(self, peer: Peer, hello: Hello) -> ClusterRecord:
        """The record by which the agent was let in."""
        with self._told_of_denial(peer, hello.cluster):
            record = await self._doorkeeper.record(hello.cluster)
            await self._turns.take()
            self._doorkeeper.check(peer, record)
            skew = self._skew(hello)
            if abs(skew) > SKEW_REFUSED:
                raise SyncRefused(
                    "clock-skew",
                    f"the agent's clock is {skew:+.0f} s off the hub's",
                    "set it, best by NTP",
                )
            return record

    @contextmanager
    def _told_of_denial(self, peer: Peer, cluster: ClusterName) -> Iterator[None]:
        """Write down whom the block refuses."""
        try:
            yield
        except SyncRefused as refused:
            told = {"what": "sync", "code": refused.code, "reason": refused.reason}
            self._audit.record("denied", cluster, actor=peer.address, **told)
            raise

    def _skew(self, hello: Hello) -> float:
        return (hello.clock - self._now()).total_seconds()

    async def _known(self, cluster: ClusterName) -> tuple[Account, Mapping[str, Mapping[str, str]]]:
        """What *cluster* has used up of its limits, and the versions of what the registry has of it.

        So that only what changed is sent. The registry is asked itself: its mirror may be a moment behind,
        and what is missing here is never taken back.
        """
        exported = await self._registry.offers.exports(cluster)
        await self._turns.take()
        exports = [records.encode(export) for export in exported]
        sizes = {export.name: len(export.body) for export in exports}
        account = Account(sizes, self._registry.offers.capacity)
        gateways = map(records.encode, await self._registry.offers.gateways(cluster))
        probes = map(records.encode, await self._registry.sayings.of(cluster, Probes))
        keys = await self._registry.members.jwt_keys(cluster)
        revoked = await self._registry.members.revoked(cluster)
        withheld = await self._registry.withdrawals.of(cluster)
        anchors = map(records.encode, await self._registry.sayings.of(cluster, Anchors))
        trusts = map(records.encode, await self._registry.sayings.of(cluster, Trust))
        return account, {
            records.PROBES: {found.name: found.version for found in probes},
            records.ANCHORS: {told.name: told.version for told in anchors},
            records.TRUST: {trust.name: trust.version for trust in trusts},
            records.EXPORT: {export.name: export.version for export in exports},
            records.GATEWAY: {gateway.name: gateway.version for gateway in gateways},
            records.JWT_KEYS: {cluster: records.encode(keys).version} if keys else {},
            records.WITHHELD: {cluster: records.encode(withheld).version} if withheld else {},
            records.REVOKED: {cluster: records.encode(revoked).version} if revoked else {},
        }

    async def _slowed(self, cluster: ClusterName, changes: int) -> None:
        """Have *cluster* wait if it makes too many *changes*: nothing is read from it meanwhile."""
        rate = self._rates.setdefault(cluster, Rate())
        seconds = rate.delay(changes, self._broadcast.judge.grants.limits, monotonic())
        if seconds:
            reason = f"too many changes: the next are taken in {seconds:.1f} s"
            log.warning("cluster slowed down", cluster=cluster, seconds=round(seconds, 1))
            self._audit.record("refused", cluster, what="rate", reason=reason)
            await asyncio.sleep(seconds)

    async def _accept(
        self, registry: Registry, hearing: Hearing, cluster: ClusterName, kind: str, changes: Bodies
    ) -> Refused:
        """Take in *changes*, and say which of them cannot be."""
        match kind:
            case records.EXPORT:
                return await hearing.exports(cluster, changes)
            case records.GATEWAY:
                return await hearing.gateways(cluster, changes)
            case records.PROBES:
                await registry.sayings.say(cluster, Probes, read(Probes, changes), MAX_GATEWAYS)
            case records.JWT_KEYS if changes:
                await registry.members.set_jwt_keys(cluster, jwt_keys(cluster, changes))
            case records.REVOKED if changes:
                revoked = of_itself(cluster, Revoked, changes) or Revoked(cluster)
                if await registry.members.set_revoked(cluster, revoked):
                    self._audit.record("revoked", cluster, workloads=str(len(revoked.workloads)))
            case records.WITHHELD if changes:
                withheld = of_itself(cluster, Withheld, changes)
                if await registry.withdrawals.doubt(cluster, withheld):
                    self._note_withheld(cluster, withheld)
            case records.ANCHORS:
                await registry.sayings.say(cluster, Anchors, read(Anchors, changes), MAX_GATEWAYS + 1)
            case records.TRUST:
                await registry.sayings.say(cluster, Trust, read(Trust, changes), 1)
            case records.LEAVE if changes:
                await registry.members.leave(cluster, self._now())
                log.info("cluster left", cluster=cluster)
        return {}

    def _note_withheld(self, cluster: ClusterName, withheld: Withheld | None) -> None:
        """Write down that a withdrawal is doubted, or not any more."""
        if withheld is None:
            self._audit.record("withdrawal-ended", cluster)
            return
        log.warning("withdrawal doubted", cluster=cluster, services=withheld.services)
        self._audit.record("withdrawal-doubted", cluster, services=str(withheld.services))

    async def _heartbeat(self, hello: Hello, skew: float, alive: AliveRecord, lease: LeaseId | None) -> None:
        """Say that the cluster is there for as long as its connection is."""
        cluster, members = hello.cluster, self._registry.members
        try:
            with suppress(FederationError):
                await self._seen(hello, skew)
            while True:
                await asyncio.sleep(_HEARTBEAT if lease else _SOON)
                try:
                    if lease is None:
                        lease = await members.connect(cluster, LEASE_SECONDS, alive, again=True)
                    else:
                        await members.keep_alive(lease)
                except FederationError as error:
                    log.warning("lease lost", cluster=cluster, reason=str(error))
                    lease = None
        finally:
            # A connection that breaks is cancelled twice; the second time must not cut this short.
            parting = asyncio.create_task(self._part(hello, skew, lease))
            self._partings.add(parting)
            parting.add_done_callback(self._partings.discard)
            await asyncio.shield(parting)

    async def _part(self, hello: Hello, skew: float, lease: LeaseId | None) -> None:
        """Say that the cluster is gone, and when it was seen last."""
        await self._turns.take()  # hundreds may end at once
        with suppress(FederationError):
            if lease is not None:
                await self._registry.members.disconnect(lease)
            await self._seen(hello, skew)

    async def _seen(self, hello: Hello, skew: float) -> None:
        status = StatusRecord(self._now(), hello.version, round(skew, 3), hello.vip_ranges)
        await self._registry.members.seen(hello.cluster, status)


def _without(changes: Bodies, refused: Refused) -> Bodies:
    return {name: body for name, body in changes.items() if name not in refused}
