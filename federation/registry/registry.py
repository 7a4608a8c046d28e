"""The registry: what the hub knows, changed by typed operations.

    registry = Registry(store, capacity=65534)
    await registry.members.join(request, trust_domain, anchor, now)
    await registry.offers.set_exports(cluster, {service: export}, now)

Every operation is one or more compare-and-swap transactions, decided on what was read and done
again when somebody else was faster; any number of hubs may share a store. Who wants to know what
the registry says watches it through a `Mirror`.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from clusters.model import Federation
from federation.errors import FederationError
from federation.registry import keyspace
from federation.registry.guarded import Guarded
from federation.registry.ledger import Ledger, Plan
from federation.registry.members import Members
from federation.registry.offers import Offers
from federation.registry.policies import Policies
from federation.registry.rollovers import Rollovers
from federation.registry.sayings import Sayings
from federation.registry.store import Compare, Store
from federation.registry.tokens import Tokens
from federation.registry.trusts import Trusts
from federation.registry.withdrawals import Withdrawals


class Registry:
    """Tokens, members and their offers. *capacity* is how many services have room in the VIP ranges."""

    def __init__(self, store: Store, capacity: int, turn: asyncio.Lock | None = None) -> None:
        self.store = store
        self._capacity = capacity
        self._turn = turn or asyncio.Lock()
        self._ledger = Ledger(store)
        self.tokens = Tokens(self._ledger)
        self.trusts = Trusts(self._ledger)
        self.policies = Policies(self._ledger)
        self.offers = Offers(self._ledger, capacity, self._turn)
        self.members = Members(self._ledger, self.offers, self.tokens)
        self.sayings = Sayings(self._ledger)
        self.withdrawals = Withdrawals(self._ledger)
        self.rollovers = Rollovers(self._ledger)

    def guarded(self, mark: Compare, lost: Callable[[], FederationError]) -> "Registry":
        """This registry, for one who may change it only while *mark* holds; else raises what *lost* makes."""
        return Registry(Guarded(self.store, mark, lost), self._capacity, self._turn)

    async def federation(self) -> Federation | None:
        """What is the same for everybody; `None` before the hub's first start is over."""
        return (await self._ledger.read(keyspace.FEDERATION, Federation)).record

    async def set_federation(self, federation: Federation) -> None:
        """Write down what is the same for everybody."""

        async def plan() -> Plan[None]:
            held = await self._ledger.read(keyspace.FEDERATION, Federation)
            if held.record == federation:
                return Plan(None)
            return Plan(None, [held.put(federation)], [held.unchanged])

        await self._ledger.transact("federation", plan)

    async def tidy(self, now: datetime) -> None:
        """Finish what was cut short, and forget what ended long ago: at the hub's start, and now and then."""
        await self.members.finish_leaving(now)
        await self.tokens.forget(now)
