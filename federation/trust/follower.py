"""Follows the bundles of foreign trust domains: when to look again, and what is kept when that fails.

The last good bundle stays in use however long its endpoint does not answer; how old it is, is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from clusters.foreign import BundleEndpoint, Profile
from federation.errors import BundleNotFetched, FederationError
from federation.log import Log
from federation.registry.clusterset import Clusterset
from federation.registry.records import TrustRecord
from federation.registry.trusts import Trusts
from pki.errors import BundleRefused
from pki.spiffe_bundle import SpiffeBundle, parse

log = Log(__name__)

DEFAULT_HINT: Final = timedelta(minutes=5)
SOONEST: Final = timedelta(seconds=10)
LATEST: Final = timedelta(days=1)
TICK: Final = 1.0

Fetch = Callable[[BundleEndpoint, Sequence[x509.Certificate]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How the last look at an endpoint went: when it was, why it failed if it did, and how often in a row."""

    endpoint: BundleEndpoint
    at: datetime
    failures: int = 0
    reason: str = ""


def interval(bundle: SpiffeBundle | None) -> timedelta:
    """How long to wait until the next look: as the bundle hints, within reason."""
    hint = bundle.refresh_hint if bundle else None
    if hint is None:
        return DEFAULT_HINT
    return min(max(timedelta(seconds=min(max(hint, 0), LATEST.total_seconds())), SOONEST), LATEST)


def next_look(record: TrustRecord, attempt: Attempt | None) -> datetime | None:
    """When to look again; None for at once. A failure is tried again soon at first, and then as usual."""
    usual = interval(held(record))
    if attempt is not None and attempt.endpoint == record.endpoint and attempt.failures:
        return attempt.at + min(SOONEST * (1 << min(attempt.failures - 1, 16)), usual)
    return record.fetched_at + usual if record.fetched_at else None


def held(record: TrustRecord) -> SpiffeBundle | None:
    """The bundle of *record*, if it has one."""
    try:
        return parse(record.document.encode()) if record.document else None
    except BundleRefused:
        return None


@dataclass(slots=True)
class Follower:
    """Looks at all endpoints in time, one round after the other."""

    trusts: Trusts
    clusterset: Clusterset
    now: Callable[[], datetime]
    fetch: Fetch
    attempts: dict[str, Attempt] = field(default_factory=dict)

    async def run(self, elected: Callable[[], Trusts]) -> None:
        """Follow, for ever, and write down what is found by *elected*."""
        while True:
            await self.look(elected())
            await asyncio.sleep(TICK)

    async def look(self, by: Trusts | None = None) -> None:
        """Look at those endpoints whose time has come, all at once; *by* writes down what is found."""
        due = [record for record in self.clusterset.trusts if self._is_due(record)]
        known = {record.endpoint.trust_domain for record in self.clusterset.trusts}
        self.attempts = {name: attempt for name, attempt in self.attempts.items() if name in known}
        async with asyncio.TaskGroup() as group:
            for record in due:
                group.create_task(self._refresh(record, by or self.trusts))

    def _is_due(self, record: TrustRecord) -> bool:
        at = next_look(record, self.attempts.get(record.endpoint.trust_domain))
        return at is None or self.now() >= at

    async def _refresh(self, record: TrustRecord, by: Trusts) -> None:
        """Fetch one bundle, and keep it if it is good and no older than the one that is held."""
        endpoint = record.endpoint
        name, before = endpoint.trust_domain, self.attempts.get(endpoint.trust_domain)
        try:
            document = await self.fetch(endpoint, self._authorities(record))
            _check_newer(parse(document.encode()), held(record))
            await by.fetched(endpoint, document, self.now())
        except (BundleNotFetched, BundleRefused, FederationError) as error:
            failures = before.failures + 1 if before and before.endpoint == endpoint else 1
            self.attempts[name] = Attempt(endpoint, self.now(), failures, str(error))
            if failures == 1:
                log.warning("bundle not refreshed", trust_domain=name, reason=str(error))
            return
        if before and before.failures:
            log.info("bundle refreshed again", trust_domain=name)
        self.attempts[name] = Attempt(endpoint, self.now())

    def _authorities(self, record: TrustRecord) -> Sequence[x509.Certificate]:
        """By what the server of *record*'s endpoint proves itself: the newest bundle of its trust domain."""
        if record.endpoint.profile is Profile.WEB:
            return ()
        prover = self.clusterset.trust(record.endpoint.proven_by)
        bundle = held(prover) if prover else None
        return bundle.authorities if bundle else ()


def _check_newer(found: SpiffeBundle, before: SpiffeBundle | None) -> None:
    """Refuse a bundle that counts less than the one before: somebody replays it, or it was restored."""
    if before is None or found.sequence is None or before.sequence is None:
        return
    if found.sequence < before.sequence:
        raise BundleRefused(f"its sequence {found.sequence} is before {before.sequence}, which is held")
