"""Several hubs on one store: one is elected, and what it writes holds while it is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from federation.errors import Deposed, HubNameTaken, NotElected, StoreUnusable
from federation.registry import keyspace
from federation.registry.codec import encode
from federation.registry.election import TTL, Election
from federation.registry.identity import bound
from federation.registry.ledger import Ledger
from federation.registry.moving import RESTORING, begin
from federation.registry.records import HubRecord, LeaderRecord
from federation.registry.registry import Registry
from federation.registry.store import Delete, Put
from tests.builders import federation
from tests.federation.registry.conftest import Bench
from tests.federation.registry.worlds import NOW, mirrored


def a_hub(registry: Registry, name: str, instance: str = "") -> Election:
    return Election(registry, name, instance or f"instance of {name}", lambda: NOW)


def record(election: Election, root: str = "") -> HubRecord:
    return HubRecord(election.name, election.instance, ("h:1",), ("h:2",), "1", NOW, root)


@asynccontextmanager
async def running(*elections: Election) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in elections]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def until(true: Callable[[], bool], *stirred: Election) -> None:
    async with asyncio.timeout(20):
        while not true():
            for each in stirred:
                each.stir()
            await asyncio.sleep(0.02)


async def test_of_two_hubs_one_is_elected_and_the_other_knows_which(registry: Registry) -> None:
    first, second = a_hub(registry, "a"), a_hub(registry, "b")
    await first.enter()
    await second.enter()
    assert first.term.value is not None
    assert second.term.value is None
    with pytest.raises(NotElected, match="that is hub a"):
        second.registry()


async def test_what_the_elected_writes_holds_only_while_it_is(registry: Registry) -> None:
    first, second = a_hub(registry, "a"), a_hub(registry, "b")
    await first.enter()
    written = first.registry()
    await written.set_federation(federation())
    await registry.store.commit([Delete(keyspace.LEADER)])
    await second.enter()
    with pytest.raises(Deposed):
        await written.set_federation(federation(roots=("ANOTHER",)))
    assert await registry.federation() == federation()
    await second.registry().set_federation(federation(roots=("ANOTHER",)))


async def test_an_elected_hub_that_was_elected_again_meanwhile_has_another_term(registry: Registry) -> None:
    first = a_hub(registry, "a")
    await first.enter()
    before = first.registry()
    await first.leave()
    await first.enter()
    with pytest.raises(Deposed):
        await before.set_federation(federation())
    await first.registry().set_federation(federation())


async def test_a_hub_that_ends_is_followed_at_once_by_one_that_hears_of_it(registry: Registry) -> None:
    first, second = a_hub(registry, "a"), a_hub(registry, "b")
    await first.enter()
    await second.enter()
    async with running(second):
        await first.leave()
        second.stir()
        await until(lambda: second.term.value is not None)
    assert second.term.value is None  # as it has ended, too


async def test_a_hub_that_is_not_heard_of_is_none_within_its_lease(bench: Bench, registry: Registry) -> None:
    first, second = a_hub(registry, "a"), a_hub(registry, "b")
    await first.enter()
    await first.announce(lambda: record(first))
    await second.enter()
    await second.announce(lambda: record(second))
    async with running(second):
        await bench.let_pass(TTL + 2)
        await until(lambda: second.term.value is not None, second)
        assert [hub.name for hub in (await mirrored(registry.store)).hubs] == ["b"]


async def test_a_hub_that_was_killed_is_itself_again_at_once_when_it_starts(registry: Registry) -> None:
    killed, again = a_hub(registry, "a"), a_hub(registry, "a")
    await killed.enter()
    await killed.announce(lambda: record(killed))
    await again.enter()
    assert again.term.value is not None
    await again.announce(lambda: record(again))


async def test_what_there_is_to_say_of_a_hub_is_known_to_all(registry: Registry) -> None:
    hub, root = a_hub(registry, "a"), "one"
    await hub.enter()
    await hub.announce(lambda: record(hub, root))
    clusterset = await mirrored(registry.store)
    assert clusterset.hubs == (record(hub, "one"),)
    assert clusterset.leader is not None
    assert clusterset.leader.name == "a"
    root = "two"
    async with running(hub):
        hub.stir()
        ledger = Ledger(registry.store)
        async with asyncio.timeout(20):
            while (await ledger.read(keyspace.hub("a"), HubRecord)).record != record(hub, "two"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_name_that_another_hub_has_is_refused(registry: Registry) -> None:
    first, second = a_hub(registry, "a"), a_hub(registry, "a", "another")
    await first.enter()
    await first.announce(lambda: record(first))
    await second.enter()
    async with running(first):
        with pytest.raises(HubNameTaken, match="called a, at h:1"):
            await second.announce(lambda: record(second))


async def test_a_key_that_somebody_took_away_is_noticed(registry: Registry) -> None:
    hub = a_hub(registry, "a")
    await hub.enter()
    before = hub.term.value
    async with running(hub):
        other = LeaderRecord("b", "another", NOW)
        await registry.store.commit([Delete(keyspace.LEADER)])
        await registry.store.commit([Put(keyspace.LEADER, encode(other))])
        await until(lambda: hub.term.value is None, hub)
        await registry.store.commit([Delete(keyspace.LEADER)])
        await until(lambda: hub.term.value not in (None, before), hub)


async def ended(running: asyncio.Task[None], stirred: Election) -> None:
    await until(running.done, stirred)
    await running


async def test_a_hub_whose_store_is_being_restored_ends_and_takes_no_office(registry: Registry) -> None:
    hub = a_hub(await bound(registry), "a")
    await hub.enter()
    await hub.announce(lambda: record(hub))
    await begin(registry.store, RESTORING, replace=True)  # as by somebody who saw no hub: it was cut off
    with pytest.raises(StoreUnusable, match="another one is in its place: it has another identity"):
        await ended(asyncio.create_task(hub.run()), hub)
    assert hub.term.value is None
    assert (await registry.store.range(keyspace.ROOT)).items == ()


async def test_a_hub_that_is_not_elected_does_not_enter_what_is_being_restored(registry: Registry) -> None:
    first, second = a_hub(registry, "a"), a_hub(await bound(registry), "b")
    await first.enter()
    await second.enter()
    await begin(registry.store, RESTORING, replace=True)
    with pytest.raises(StoreUnusable):
        await second.announce(lambda: record(second))


async def test_what_is_said_of_a_hub_goes_with_its_lease(registry: Registry) -> None:
    hub, root = a_hub(registry, "a"), "one"
    await hub.enter()
    await hub.announce(lambda: record(hub, root))
    async with running(hub):
        await registry.store.commit([Delete(keyspace.LEADER)])
        root = "two"
        await until(lambda: hub.term.value is None, hub)
    assert all(item.lease for item in (await registry.store.range(keyspace.HUBS)).items)
