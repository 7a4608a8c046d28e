"""Many agents in one process: `crowd.py FOLDER` is told by lines on stdin, and answers with JSON.

Each has joined as an agent does, with a connection of its own and mutual TLS, and hears of everything. What
it hears it counts and forgets, so the crowd is lighter than its size of true agents.

`join [LINE, ...]` joins with each token and connects · `publish N` has each offer N services · `know N` waits
until each knows N services · `change` has the first one change a service · `heard NAME VERSION` waits until
each has heard of that and says when · `return N` has the first N lose their connections and come back.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import uvloop

from clusters.clock import utc_now
from clusters.identity import ClusterIdentity
from clusters.join import join
from clusters.model import Export
from clusters.names import ServiceName
from clusters.services import Port
from federation.errors import StepFailed
from federation.svids import Svids
from federation.sync import records
from federation.sync.client import SyncClient
from federation.sync.exchange import Session
from federation.sync.frames import Hello
from gateway.delta import Catalogue
from gateway.rpc import TlsMaterial
from pki.authority import to_pem
from pki.spiffe import agent_id

_PATIENCE: Final = 300.0
_LIFETIME: Final = timedelta(hours=1)
"""How long the crowd's own SVIDs are good: longer than any bench."""


class Member:
    """One agent: it tells of services, and notes when it heard of which."""

    def __init__(self, identity: ClusterIdentity) -> None:
        membership = identity.membership
        self.cluster = membership.cluster
        self.published = Catalogue()
        self.imports: dict[str, int] = {}
        self.heard: dict[str, int] = {}
        svid = Svids(identity.authority, lifetime=_LIFETIME).get(agent_id(membership.trust_domain), utc_now())
        material = TlsMaterial(svid.chain_pem, svid.key_pem, to_pem(identity.roots))
        session = Session(self.published, self._accept)
        self.link = SyncClient(
            lambda: membership.sync, lambda: material, lambda: Hello(self.cluster, utc_now()), session
        )

    async def _accept(self, kind: str, changes: Mapping[str, bytes | None]) -> None:
        if kind == records.IMPORT:
            now = time.monotonic_ns()
            for name, body in changes.items():
                self.imports[name] = now
                self.heard[name] = 0 if body is None else body.count(b"changed")

    def publish(self, services: int, *, changed: bool = False) -> str:
        """Offer so many services; the first of them as it was, or not. Gives its name."""
        names = [ServiceName(self.cluster, f"service-{n}") for n in range(services)]
        offered = {}
        for n, name in enumerate(names):
            port = Port(8080, "changed" if changed and not n else "main")
            offered[str(name)] = records.encode(Export(name, (port,), 10))
        self.published.replace(records.EXPORT, offered)
        return str(names[0])


class Crowd:
    """All agents of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._members: list[Member] = []
        self._services = 0
        self._running: set[asyncio.Task[object]] = set()

    async def do(self, words: Sequence[str]) -> object:
        """Do what a line says; what comes back is its answer."""
        match words:
            case ["join", *lines]:
                return await self._join(lines)
            case ["publish", count]:
                self._services = int(count)
                return [member.publish(self._services) for member in self._members]
            case ["know", count]:
                return await self._until(lambda m: len(m.imports) >= int(count))
            case ["change", what]:
                began = time.monotonic_ns()
                return [self._members[0].publish(self._services, changed=what == "on"), began]
            case ["heard", name, what]:
                await self._until(lambda m: bool(m.heard.get(name)) == (what == "on"))
                return [member.imports[name] for member in self._members]
            case ["return", count]:
                return await self._return(self._members[: int(count)])
        raise StepFailed("a line that the crowd does not know", " ".join(words))

    async def _join(self, lines: Sequence[str]) -> int:
        for line in lines:
            state = self._folder / f"m-{len(self._members)}"
            identity = (await asyncio.to_thread(join, line, state)).identity
            self._members.append(member := Member(identity))
            self._running.add(asyncio.create_task(member.link.run()))
        await self._until(lambda m: m.link.state.value.connected)
        return len(self._members)

    async def _return(self, members: Sequence[Member]) -> list[float]:
        """How many seconds each takes from its connection's end to the hub's welcome."""

        async def back(member: Member) -> float:
            before = member.link.state.value
            member.link.renew()
            async for state in member.link.state:
                if state is not before and state.connected:
                    return time.monotonic() - began
            raise StepFailed("an agent stopped", member.cluster)

        began = time.monotonic()
        return list(await asyncio.gather(*map(back, members)))

    async def _until(self, true_of: Callable[[Member], bool]) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while not all(map(true_of, self._members)):
            if time.monotonic() > deadline:
                behind = [m for m in self._members if not true_of(m)]
                told = f"{len(behind)} of {len(self._members)}: {behind[0].link.state.value.reason}"
                raise StepFailed("waited in vain for the crowd", told)
            await asyncio.sleep(0.01)
        return True


async def run(folder: Path) -> None:
    """Do what stdin says, line by line."""
    crowd = Crowd(folder)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await crowd.do(line.split())), flush=True)


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1])))
