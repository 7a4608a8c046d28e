"""The grants, as they are written down: one record, so that they change as a whole."""

from dataclasses import dataclass

from federation.errors import GrantsChanged
from federation.registry import keyspace
from federation.registry.grants import Grants
from federation.registry.ledger import Ledger, Plan


@dataclass(frozen=True, slots=True)
class Written:
    """The grants, and since which revision of the store they are what they are; 0 before there were any."""

    grants: Grants
    revision: int = 0


class Policies:
    """The grants of the registry."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def get(self) -> Written:
        """What is written down now: by default everything is allowed."""
        held = await self._ledger.read(keyspace.GRANTS, Grants)
        return Written(held.record or Grants(), held.seen.mod_revision if held.seen else 0)

    async def set(self, grants: Grants, revision: int) -> None:
        """Replace what was written down at *revision*; `GrantsChanged` if it has been replaced since."""

        async def plan() -> Plan[None]:
            held = await self._ledger.read(keyspace.GRANTS, Grants)
            if (held.seen.mod_revision if held.seen else 0) != revision:
                raise GrantsChanged
            return Plan(None, [held.put(grants)], [held.unchanged])

        await self._ledger.transact("grants", plan)
