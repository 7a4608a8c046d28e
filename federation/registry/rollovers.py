"""A rollover in the registry: its steps, each one transaction together with what everybody is told.

What everybody is told follows from where the rollover is:

    phase       roots          signing
    (none)      one            that one
    SPREADING   old and new    the old one
    REISSUING   old and new    the new one
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from clusters.model import Federation
from federation.errors import FederationError, NoRollover, RolloverExists, RolloverTooLate
from federation.registry import keyspace
from federation.registry.ledger import Held, Ledger, Plan, slices
from federation.registry.records import ProofRecord, RolloverRecord
from federation.registry.store import MAX_OPERATIONS
from federation.rollover.phases import Phase
from pki.authority import from_pem
from pki.bundle import fingerprint


def told(
    federation: Federation, root: str, rollover: RolloverRecord | None, prove_at: tuple[str, ...]
) -> Federation:
    """*federation* as everybody is to know it: with *root* alone, or with both of a *rollover*."""
    if rollover is None:
        return replace(federation, roots=(root,), crosses=(), signing="", prove_at=())
    spreading = rollover.phase is Phase.SPREADING
    (signing,) = from_pem(rollover.old if spreading else rollover.new)
    return replace(
        federation,
        roots=(rollover.old, rollover.new),
        crosses=(rollover.cross,),
        signing=fingerprint(signing),
        prove_at=prove_at if spreading else (),
    )


class Rollovers:
    """The rollover of the registry, of which there is one at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def get(self) -> RolloverRecord | None:
        """The rollover that is under way."""
        return (await self._read()).record

    async def start(self, record: RolloverRecord, prove_at: tuple[str, ...]) -> None:
        """Begin; RolloverExists if one is under way."""

        async def plan() -> Plan[None]:
            held = await self._read()
            if held.record is not None:
                raise RolloverExists(held.record.phase)
            return await self._plan(held, record, told_root=record.old, prove_at=prove_at)

        await self._ledger.transact("start of the rollover", plan)

    async def switch(self, root: str, now: datetime) -> RolloverRecord:
        """Have the new root sign, if it is still *root*, PEM, that is the new one."""

        async def plan() -> Plan[RolloverRecord]:
            held = await self._read()
            record = _under_way(held, root)
            if record.phase is Phase.REISSUING:
                return Plan(record)
            switched = replace(record, phase=Phase.REISSUING, switched=now)
            planned = await self._plan(held, switched, told_root=switched.new)
            return Plan(switched, planned.operations, planned.when)

        return await self._ledger.transact("switch of the rollover", plan)

    async def finish(self, root: str) -> None:
        """Be done: the new *root*, PEM, is the only one from now on."""
        await self._end(root, Phase.REISSUING)

    async def abort(self, root: str) -> None:
        """Go back: there has never been a new *root*. RolloverTooLate once that signs."""
        await self._end(root, Phase.SPREADING)

    async def set_auto(self, auto: bool) -> RolloverRecord:
        """Have each step taken as soon as it may be, or not."""

        async def plan() -> Plan[RolloverRecord]:
            held = await self._read()
            record = replace(_under_way(held), auto=auto)
            return Plan(record, [held.put(record)], [held.unchanged])

        return await self._ledger.transact("rollover", plan)

    async def prove(self, party: str, proof: ProofRecord) -> None:
        """Write down that *party* has proved to trust the new root; NoRollover if it is not that one."""

        async def plan() -> Plan[None]:
            rollover = await self._read()
            (new,) = from_pem(_under_way(rollover).new)
            if fingerprint(new) != proof.root:
                raise NoRollover
            held = await self._ledger.read(keyspace.proof(party), ProofRecord)
            return Plan(None, [held.put(proof)], [rollover.unchanged])

        await self._ledger.transact(f"proof of {party}", plan)

    async def proofs(self, root: str) -> Mapping[str, datetime]:
        """Who has proved to trust the root of the fingerprint *root*, and when."""
        held = await self._ledger.list(keyspace.PROOFS, ProofRecord)
        return {
            h.key.removeprefix(keyspace.PROOFS): h.record.at
            for h in held
            if h.record and h.record.root == root
        }

    async def sweep(self) -> None:
        """Forget the proofs of rollovers that are over. They harm nobody, so this may come late."""
        rollover = await self._read()
        wanted = fingerprint(from_pem(rollover.record.new)[0]) if rollover.record else None
        proofs = await self._ledger.list(keyspace.PROOFS, ProofRecord)
        stale = [held for held in proofs if held.record and held.record.root != wanted]
        for some in slices(stale, MAX_OPERATIONS // 2):
            await self._ledger.store.commit([h.delete() for h in some], [h.unchanged for h in some])

    async def _end(self, root: str, phase: Phase) -> None:
        async def plan() -> Plan[None]:
            held = await self._read()
            record = _under_way(held, root)
            if record.phase is not phase:
                raise RolloverTooLate(record.phase)
            stays = record.old if phase is Phase.SPREADING else record.new
            return await self._plan(held, None, told_root=stays)

        await self._ledger.transact("end of the rollover", plan)
        await self.sweep()

    async def _plan(
        self,
        held: Held[RolloverRecord],
        record: RolloverRecord | None,
        *,
        told_root: str,
        prove_at: tuple[str, ...] = (),
    ) -> Plan[None]:
        federation = await self._ledger.read(keyspace.FEDERATION, Federation)
        if federation.record is None:
            raise FederationError("the registry does not know its federation yet")
        operations = [
            held.delete() if record is None else held.put(record),
            federation.put(told(federation.record, told_root, record, prove_at)),
        ]
        return Plan(None, operations, [held.unchanged, federation.unchanged])

    async def _read(self) -> Held[RolloverRecord]:
        return await self._ledger.read(keyspace.ROLLOVER, RolloverRecord)


def _under_way(held: Held[RolloverRecord], root: str | None = None) -> RolloverRecord:
    """The rollover, if there is one, and it is that to *root*."""
    if held.record is None or root not in (None, held.record.new):
        raise NoRollover
    return held.record
