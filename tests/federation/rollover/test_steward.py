"""A rollover from end to end, with a real door and agents that prove what they trust at it."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from clusters.trust import UnusedToken
from federation.errors import Deposed, NoRollover, NotLagging, RolloverExists, RolloverLags, RolloverTooLate
from federation.hub_authority import Vault, create_at_first
from federation.registry import keyspace
from federation.registry.ledger import Ledger
from federation.registry.records import RolloverRecord
from federation.registry.rollovers import Rollovers
from federation.registry.store import Compare
from federation.rollover.parties import hub_party
from federation.rollover.phases import Phase, Step
from federation.rollover.preparing import Given
from pki.authority import Authority, new_root
from pki.errors import CannotIssue
from pki.lifetimes import HUB_CA_LIFETIME
from pki.signer import KeySigner
from tests.builders import DOMAIN
from tests.federation.rollover.worlds import Agent, Hub, running, utc_now

HUB = hub_party("hub")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's first start: sealing its keys takes a while."""
    state = tmp_path_factory.mktemp("made")
    create_at_first(Vault(state), DOMAIN, utc_now(), lambda: None)
    return state


@pytest.fixture
def states(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    def state(name: str) -> Path:
        folder = tmp_path / name
        if name == "hub" and not folder.exists():
            shutil.copytree(made, folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    return state


async def ticks(hub: Hub) -> None:
    """Let the steward do what it does by itself."""
    running = asyncio.create_task(hub.steward.run())
    async with asyncio.timeout(20):
        while not (await hub.party(HUB)).proved:  # noqa: ASYNC110  it has no event to wait for
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])


async def spread(hub: Hub, *agents: Agent) -> None:
    """Have everybody trust the new root, and prove it."""
    for agent in agents:
        await agent.hear(hub)
        await agent.prove(hub)
    await ticks(hub)


async def test_one_root_takes_over_from_another_and_a_killed_hub_goes_on_at_every_step(
    states: Callable[[str], Path],
) -> None:
    state = states("hub")
    async with running(state) as hub:
        old = hub.steward.authority.root
        agents = [await hub.join(name, states(name)) for name in ("west", "east")]
        await hub.steward.start()
    async with running(state) as hub:  # with everything in memory gone
        assert hub.steward.rollover is not None
        with pytest.raises(RolloverLags, match=r"west: its agent is not connected"):
            await hub.steward.resume()
        await spread(hub, *agents)
    async with running(state) as hub:
        for agent in agents:
            await agent.hear(hub)
        assert await hub.steward.resume() is Step.WAIT
    async with running(state) as hub:
        new = hub.steward.authority.root
        assert new != old
        assert hub.steward.certificate.leads_to(new)
        for agent in agents:
            await agent.hear(hub)
        with pytest.raises(RolloverLags, match=r"east: .*; west: it has an issuing CA of the old root"):
            await hub.steward.finish()
        for agent in agents:
            await agent.reissue(hub)
    async with running(state) as hub:
        assert await hub.steward.resume() is Step.FINISH
        await hub.steward.finish()
        for agent in agents:
            await agent.hear(hub)
            assert agent.roots.certificates == (new,)
    async with running(state) as hub:
        assert hub.steward.rollover is None
        assert hub.steward.authority.certificates == (new,)


async def test_who_lags_is_named_with_the_reason(states: Callable[[str], Path]) -> None:
    async with running(states("hub")) as hub:
        west, east = [await hub.join(name, states(name)) for name in ("west", "east")]
        await hub.steward.start()
        assert (await hub.party("west")).why == "its agent is not connected"
        hub.steward.trusting.connected(west.cluster)
        assert "older fedgate" in (await hub.party("west")).why
        await west.hear(hub)
        assert (await hub.party("west")).why == "it has not proved that it trusts the new root"
        west.behind = "gateways without the new root: gw-2"
        await west.prove(hub)
        assert (await hub.party("west")).why == "gateways without the new root: gw-2"
        west.behind = ""
        await west.prove(hub)
        assert (await hub.party("west")).ready(Phase.SPREADING)
        await ticks(hub)
        with pytest.raises(RolloverLags) as caught:
            await hub.steward.resume()
        assert [name for name, _ in caught.value.lagging] == [east.cluster]


async def test_only_who_holds_everybody_up_is_shut_out_and_only_if_the_step_is_taken_then(
    states: Callable[[str], Path],
) -> None:
    async with running(states("hub")) as hub:
        west, east, south = [await hub.join(name, states(name)) for name in ("west", "east", "south")]
        everybody = {west.cluster, east.cluster, south.cluster}
        used = next(token for token in await hub.registry.tokens.list() if token.cluster == west.cluster)
        await hub.registry.tokens.add(replace(used, id="t-new", used_at=None))  # it goes with its cluster
        with pytest.raises(NoRollover):
            await hub.steward.resume([east.cluster])
        await hub.steward.start()
        await spread(hub, west)
        with pytest.raises(RolloverTooLate):
            await hub.steward.finish([east.cluster])
        with pytest.raises(NotLagging, match="west"):
            await hub.steward.resume([west.cluster, east.cluster, south.cluster])
        with pytest.raises(RolloverLags, match="south"):
            await hub.steward.resume([east.cluster])
        assert {record.name for record in await hub.registry.members.list()} == everybody
        assert await hub.steward.resume([east.cluster, south.cluster]) is Step.WAIT
        assert [record.name for record in await hub.registry.members.list()] == [west.cluster]
        with pytest.raises(RolloverTooLate):
            await hub.steward.resume([west.cluster])
        await hub.steward.finish([west.cluster])
        assert (await hub.registry.members.list(), hub.steward.rollover) == ([], None)
        evicted = [event for event in hub.steward.audit.waiting if event.action == "evicted"]
        assert [event.subject for event in evicted] == [east.cluster, south.cluster, west.cluster]
        assert {event.details["what"] for event in evicted} == {"rollover"}


async def shut_out_late(hub: Hub, skipped: Agent, step: Step) -> None:
    """Nobody is shut out for a *step* that has to wait, and is not to be taken when it has waited."""
    take = hub.steward.resume if step is Step.SWITCH else hub.steward.finish
    before = await hub.registry.members.list()
    async with hub.steward.lock:  # as while another step is taken
        taking = asyncio.create_task(take([skipped.cluster]))
        await asyncio.wait([taking], timeout=0.5)
        assert await hub.registry.members.list() == before
        under_way = hub.steward.rollover
        hub.steward.heed(None)
    with pytest.raises(NoRollover):
        await taking
    assert await hub.registry.members.list() == before
    hub.steward.heed(under_way)


async def test_nobody_is_shut_out_beside_another_step_or_by_a_hub_that_is_not_elected_any_more(
    states: Callable[[str], Path],
) -> None:
    async with running(states("hub")) as hub:
        west, east = [await hub.join(name, states(name)) for name in ("west", "east")]
        await hub.steward.start()
        await spread(hub, west)
        await shut_out_late(hub, east, Step.SWITCH)
        elected, lost = hub.steward.elected, Compare(keyspace.LEADER, create_revision=1)
        hub.steward.elected = lambda: hub.registry.guarded(lost, Deposed)
        with pytest.raises(Deposed):
            await hub.steward.resume([east.cluster])
        assert len(await hub.registry.members.list()) == 2
        hub.steward.elected = elected
        await hub.steward.resume([east.cluster])
        await shut_out_late(hub, west, Step.FINISH)


async def test_a_proof_that_fails_says_why(states: Callable[[str], Path]) -> None:
    async with running(states("hub")) as hub:
        west = await hub.join("west", states("west"))
        await hub.steward.start()
        await west.hear(hub)
        west.federation = replace(west.federation, prove_at=("127.0.0.1:1",))
        await west.prove(hub)
        assert "no hub answers at 127.0.0.1:1" in (await hub.party("west")).why


async def test_a_rollover_that_was_aborted_was_never_there(states: Callable[[str], Path]) -> None:
    async with running(states("hub")) as hub:
        before = hub.steward.authority.certificates
        west = await hub.join("west", states("west"))
        await hub.steward.start()
        with pytest.raises(RolloverExists):
            await hub.steward.start()
        await west.hear(hub)
        await hub.steward.abort()
        await west.hear(hub)
        assert west.roots.certificates == hub.steward.authority.certificates == before
        with pytest.raises(NoRollover):
            await hub.steward.resume()
        await hub.steward.start()  # and another one can be made


async def test_a_token_of_the_old_root_has_to_be_over_before_that_ends(
    states: Callable[[str], Path],
) -> None:
    async with running(states("hub")) as hub:
        await hub.join("west", states("west"))
        (used,) = await hub.registry.tokens.list()
        await hub.registry.tokens.add(replace(used, id="t-new", used_at=None))
        await hub.steward.start()
        assert [p.name for p in await hub.steward.parties()] == [HUB, "west", "token t-new"]
        await hub.registry.tokens.revoke("t-new", utc_now())
        assert [p.name for p in await hub.steward.parties()] == [HUB, "west"]


async def test_a_gateways_token_of_the_old_root_has_to_be_over_too(states: Callable[[str], Path]) -> None:
    async with running(states("hub")) as hub:
        west = await hub.join("west", states("west"))
        west.tokens = (UnusedToken("t-gw", "edge", utc_now() + timedelta(minutes=15)),)
        await hub.steward.start()
        await west.hear(hub)
        token = await hub.party("token t-gw")
        assert token.ready(Phase.SPREADING)
        assert not token.ready(Phase.REISSUING)
        assert "west's gateway edge" in token.why
        hub.steward.now = lambda: utc_now() + timedelta(minutes=16)
        assert "token t-gw" not in [party.name for party in await hub.steward.parties()]


async def test_those_who_follow_our_bundles_get_time_to_hear_of_a_new_root(
    states: Callable[[str], Path],
) -> None:
    async with running(states("hub")) as hub:
        hub.steward.outside = timedelta(minutes=10)
        await hub.steward.start()
        (_, outside) = await hub.steward.parties()
        assert (outside.name, outside.ready(Phase.SPREADING)) == ("trust domains outside", False)
        hub.steward.now = lambda: utc_now() + timedelta(minutes=11)
        assert [party.name for party in await hub.steward.parties()] == [HUB]


async def test_who_joins_meanwhile_knows_both_roots_and_nobody_goes_back_after_the_switch(
    states: Callable[[str], Path],
) -> None:
    async with running(states("hub")) as hub:
        await hub.steward.start()
        assert len(hub.steward.authority.pins) == 2
        west = await hub.join("west", states("west"))
        await spread(hub, west)
        await hub.steward.resume()
        with pytest.raises(RolloverTooLate, match="signs already"):
            await hub.steward.abort()
        east = await hub.join("east", states("east"))
        assert east.roots.certificates == hub.steward.authority.certificates
        assert (await hub.party("east")).ready(Phase.REISSUING)


class HeardFirst(Rollovers):
    """A registry's rollover by a connection on which a watch is faster than an answer."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(Ledger(hub.registry.store))
        self._heed = hub.steward.heed

    async def switch(self, root: str, now: datetime) -> RolloverRecord:
        switched = await super().switch(root, now)
        self._heed(switched)
        return switched


async def test_a_hub_that_hears_of_its_switch_before_it_is_answered_goes_on_to_believe_the_old_root(
    states: Callable[[str], Path],
) -> None:
    async with running(states("hub")) as hub:
        await hub.steward.start()
        await ticks(hub)
        both = hub.steward.authority.certificates
        hub.registry.rollovers = HeardFirst(hub)
        await hub.steward.resume()
        assert hub.steward.authority.certificates == both
        assert hub.steward.authority.root == both[1]


async def test_a_root_whose_hub_ca_has_ended_does_not_take_over(states: Callable[[str], Path]) -> None:
    async with running(states("hub")) as hub:
        before = hub.steward.authority.root
        await hub.steward.start()
        await ticks(hub)
        hub.steward.now = lambda: utc_now() + HUB_CA_LIFETIME
        with pytest.raises(CannotIssue, match="has ended: abort"):
            await hub.steward.resume()
        assert (hub.steward.authority.root, len(hub.steward.authority.certificates)) == (before, 2)
        await hub.steward.abort()


async def test_it_goes_by_itself_if_it_is_told_to(states: Callable[[str], Path]) -> None:
    signer = KeySigner.generate()
    given: Authority = new_root(DOMAIN, signer, utc_now())
    async with running(states("hub")) as hub:
        west = await hub.join("west", states("west"))
        await hub.steward.start(Given(given), auto=True)
        own = asyncio.create_task(hub.steward.run())
        await west.hear(hub)
        await west.prove(hub)
        async with asyncio.timeout(30):
            while hub.steward.authority.root != given.certificate:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await west.reissue(hub)
            while hub.steward.rollover is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert hub.steward.authority.certificates == (given.certificate,)
        own.cancel()
        await asyncio.wait([own])
