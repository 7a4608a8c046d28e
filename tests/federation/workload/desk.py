"""A Workload API that serves this very process, with a view and a clock that a test can change."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from spiffe import WorkloadApiClient

from clusters.attestation import UnixSelector
from clusters.clock import utc_now
from clusters.foreign import TrustBundle
from clusters.model import Member, Workload
from federation.svids import Svids
from federation.workload.identities import Identities
from federation.workload.server import WorkloadApi
from federation.workload.tokens import Tokens
from pki.authority import to_pem
from pki.jwt_keys import SigningKey
from tests.authorities import Authorities
from tests.builders import CLOUD, ONPREM, member, view

T = TypeVar("T")
HOME = "onprem.fed.example"
US = UnixSelector(os.geteuid())
SOMEBODY_ELSE = UnixSelector(os.geteuid() + 1)


def known_by(name: str, selector: UnixSelector | None = US) -> Workload:
    """`shop/NAME`, known by *selector*."""
    return Workload("shop", name, unix=selector)


class Desk:
    """What is served: `onprem`'s workloads, with `cloud` as the other member."""

    def __init__(self, folder: Path, *workloads: Workload) -> None:
        self.pki = Authorities(utc_now())
        self.now = self.pki.now
        self.view = view(members=(self.member(ONPREM), self.member(CLOUD)), workloads=workloads)
        self.svids = Svids(self.pki.issuing_ca(ONPREM), jitter=lambda: 0.5)
        identities = Identities(lambda: self.view, HOME, self.svids, lambda: self.now)
        self.keys: tuple[SigningKey, ...] = (SigningKey.new(self.now),)
        tokens = Tokens(lambda: self.view, HOME, identities, lambda: self.keys, lambda: self.now)
        self.identities = identities
        self.api = WorkloadApi(identities, tokens)
        self.folder = folder
        self.socket = folder / "workload.sock"

    def member(self, name: str) -> Member:
        """A cluster with its one issuing CA."""
        known = member(CLOUD if name == CLOUD else ONPREM)
        return replace(known, anchors=(to_pem(self.pki.issuing_ca(name).chain),))

    def has(self, *workloads: Workload) -> None:
        """The source says now that these are the workloads."""
        self.view = replace(self.view, offer=replace(self.view.offer, workloads=workloads))
        self.api.follow()

    def knows(self, *members: Member) -> None:
        """The hub says now that these are the members."""
        self.view = replace(self.view, members={m.name: m for m in members})
        self.api.follow()

    def trusts(self, *bundles: TrustBundle) -> None:
        """The hub says now that these are the trust domains outside."""
        self.view = replace(self.view, trusts={bundle.trust_domain: bundle for bundle in bundles})
        self.api.follow()

    def later(self, passed: timedelta) -> None:
        """Some time passes, and somebody looks what is due."""
        self.now += passed
        self.api.follow()

    def client(self) -> WorkloadApiClient:
        """The SPIFFE project's own client."""
        return WorkloadApiClient(f"unix://{self.socket}", default_timeout=10)

    async def ask(self, question: Callable[[WorkloadApiClient], T]) -> T:
        """Have a client of its own ask: it blocks, so it does so in a thread."""

        def asked() -> T:
            with self.client() as client:
                return question(client)

        return await asyncio.to_thread(asked)


@asynccontextmanager
async def desk(folder: Path, *workloads: Workload) -> AsyncIterator[Desk]:
    """Serve *workloads* until the block is left."""
    served = Desk(folder, *workloads)
    async with served.api.serving(served.socket, folder):
        yield served


async def until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
