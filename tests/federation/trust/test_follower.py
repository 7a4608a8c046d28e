"""When a foreign bundle is looked at again, and what is kept when that fails."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from clusters.foreign import BundleEndpoint, Profile
from federation.errors import BundleNotFetched, UnknownTrust
from federation.registry.mirror import Mirror
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.trust.bundles import bundle_of
from federation.trust.follower import DEFAULT_HINT, SOONEST, Follower
from pki.authority import to_pem
from pki.spiffe_bundle import document
from tests.authorities import NOW, Authorities

OTHER = Authorities(domain="other.example")
ROOT, ISSUING = OTHER.root.certificate, OTHER.issuing_ca("west").certificate
PLACE = BundleEndpoint("other.example", "https://other.example/bundle")
SECOND = timedelta(seconds=1)


def bundle(*authorities: x509.Certificate, sequence: int | None = None, hint: int | None = None) -> str:
    return document(authorities, (), sequence, hint).decode()


@dataclass
class World:
    """A hub that follows, the endpoints that answer it, and the time."""

    store: SqliteStore
    now: datetime = NOW
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, tuple[x509.Certificate, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(self.store, 10)
        self.mirror = Mirror(self.store)
        self.changes = self.mirror.changes()
        self.follower = Follower(self.registry.trusts, self.mirror.clusterset, lambda: self.now, self.fetch)

    async def fetch(self, endpoint: BundleEndpoint, authorities: Sequence[x509.Certificate]) -> str:
        self.asked.append((endpoint.trust_domain, tuple(authorities)))
        if endpoint.url not in self.answers:
            raise BundleNotFetched(endpoint.trust_domain, "nobody answers")
        return self.answers[endpoint.url]

    async def look(self, later: timedelta = timedelta()) -> int:
        """Let time pass and look; gives how many endpoints were asked."""
        self.now += later
        await self.seen()
        before = len(self.asked)
        await self.follower.look()
        await self.seen()
        return len(self.asked) - before

    async def seen(self) -> None:
        """Let the mirror catch up: it lists everything when it is asked anew."""
        self.changes = self.mirror.changes()
        await anext(self.changes)

    def held(self, name: str = "other.example") -> set[str]:
        found = bundle_of(self.mirror.clusterset.trust(name))
        return set(found.authorities) if found else set()


def pems(*certificates: x509.Certificate) -> set[str]:
    return {to_pem([certificate]) for certificate in certificates}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await SqliteStore.open(tmp_path / "registry.db")
    yield World(store)
    await store.close()


async def test_a_new_one_is_fetched_at_once_and_then_as_its_bundle_hints(world: World) -> None:
    world.answers[PLACE.url] = bundle(ROOT, hint=60)
    await world.registry.trusts.add(PLACE, "")
    assert await world.look() == 1
    assert world.held() == pems(ROOT)
    assert await world.look(59 * SECOND) == 0
    assert await world.look(SECOND) == 1


@pytest.mark.parametrize(
    ("hint", "wait"),
    [(None, DEFAULT_HINT), (0, SOONEST), (-5, SOONEST), (10**18, timedelta(days=1))],
)
async def test_a_hint_is_taken_within_reason(world: World, hint: int | None, wait: timedelta) -> None:
    world.answers[PLACE.url] = bundle(ROOT, hint=hint)
    await world.registry.trusts.add(PLACE, "")
    await world.look()
    assert await world.look(wait - SECOND) == 0
    assert await world.look(SECOND) == 1


async def test_the_last_good_bundle_stays_while_nobody_answers_and_looks_become_rarer(world: World) -> None:
    world.answers[PLACE.url] = bundle(ROOT)
    await world.registry.trusts.add(PLACE, "")
    await world.look()
    del world.answers[PLACE.url]
    assert await world.look(DEFAULT_HINT) == 1
    waits = []
    for _ in range(8):
        waited = 0
        while not await world.look(5 * SECOND):
            waited += 5
        waits.append(waited + 5)
    assert waits[:3] == [10, 20, 40]
    assert waits[-1] == DEFAULT_HINT.total_seconds()
    assert world.held() == pems(ROOT)
    assert "nobody answers" in world.follower.attempts["other.example"].reason
    world.answers[PLACE.url] = bundle(ISSUING)
    assert await world.look(DEFAULT_HINT) == 1
    assert world.held() == pems(ISSUING)
    assert world.follower.attempts["other.example"].failures == 0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("{}", "not a SPIFFE bundle"),
        (bundle(), "no key"),
        (bundle(ISSUING, sequence=4), "its sequence 4 is before 5"),
    ],
    ids=["damaged", "empty", "older"],
)
async def test_a_bad_or_an_older_answer_replaces_nothing(world: World, answer: str, why: str) -> None:
    await world.registry.trusts.add(PLACE, bundle(ROOT, sequence=5))
    world.answers[PLACE.url] = answer
    assert await world.look() == 1
    assert world.held() == pems(ROOT)
    assert why in world.follower.attempts["other.example"].reason


async def test_a_server_proves_itself_by_the_newest_bundle_of_its_own_domain(world: World) -> None:
    itself = BundleEndpoint("other.example", PLACE.url, Profile.SPIFFE, "spiffe://other.example/hub")
    member = BundleEndpoint("west.other.example", f"{PLACE.url}/west", Profile.SPIFFE, itself.spiffe_id)
    world.answers |= {itself.url: bundle(ISSUING), member.url: bundle(ISSUING)}
    await world.registry.trusts.add(itself, bundle(ROOT))
    await world.look()
    assert world.asked == [("other.example", (ROOT,))]
    await world.registry.trusts.add(member, "")
    await world.look()
    assert world.asked[1:] == [("west.other.example", (ISSUING,))]
    assert world.held("west.other.example") == pems(ISSUING)


async def test_what_comes_from_a_place_that_counts_no_more_is_not_kept(world: World) -> None:
    await world.registry.trusts.add(PLACE, "")
    elsewhere = BundleEndpoint("other.example", "https://elsewhere.example/")
    await world.registry.trusts.add(elsewhere, "")
    await world.registry.trusts.fetched(PLACE, bundle(ROOT), NOW)
    await world.seen()
    assert world.held() == set()
    await world.registry.trusts.remove("other.example")
    await world.registry.trusts.fetched(elsewhere, bundle(ROOT), NOW)
    await world.seen()
    assert world.mirror.clusterset.trusts == ()
    with pytest.raises(UnknownTrust):
        await world.registry.trusts.remove("other.example")
