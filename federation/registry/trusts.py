"""The trust domains outside that the federation believes, and the last good bundle of each."""

from dataclasses import replace
from datetime import datetime

from clusters.foreign import BundleEndpoint
from federation.errors import UnknownTrust
from federation.registry import keyspace
from federation.registry.ledger import Ledger, Plan
from federation.registry.records import TrustRecord


class Trusts:
    """The foreign trust domains of the registry."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def list(self) -> list[TrustRecord]:
        """All of them, by name."""
        held = await self._ledger.list(keyspace.TRUSTS, TrustRecord)
        return [one.record for one in held if one.record]

    async def add(self, endpoint: BundleEndpoint, document: str) -> TrustRecord:
        """Believe *endpoint*'s trust domain from now on, by *document* until another one is fetched.

        For one that is believed already the endpoint is replaced; its bundle stays unless there is another.
        """

        async def plan() -> Plan[TrustRecord]:
            held = await self._ledger.read(keyspace.trust(endpoint.trust_domain), TrustRecord)
            before = held.record or TrustRecord(endpoint)
            record = replace(before, endpoint=endpoint, document=document or before.document)
            if document:
                record = replace(record, fetched_at=None)
            return Plan(record, [held.put(record)], [held.unchanged])

        return await self._ledger.transact(f"trust in {endpoint.trust_domain}", plan)

    async def fetched(self, endpoint: BundleEndpoint, document: str, now: datetime) -> None:
        """Write down what *endpoint* said. If somebody else is asked by now, or nobody, it is not."""

        async def plan() -> Plan[None]:
            held = await self._ledger.read(keyspace.trust(endpoint.trust_domain), TrustRecord)
            if held.record is None or held.record.endpoint != endpoint:
                return Plan(None)
            record = replace(held.record, document=document, fetched_at=now)
            return Plan(None, [held.put(record)], [held.unchanged])

        await self._ledger.transact(f"bundle of {endpoint.trust_domain}", plan)

    async def remove(self, trust_domain: str) -> None:
        """Believe it no more."""

        async def plan() -> Plan[None]:
            held = await self._ledger.read(keyspace.trust(trust_domain), TrustRecord)
            if held.record is None:
                raise UnknownTrust(trust_domain)
            return Plan(None, [held.delete()], [held.unchanged])

        await self._ledger.transact(f"trust in {trust_domain}", plan)
