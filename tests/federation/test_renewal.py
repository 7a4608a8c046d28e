"""How an agent's issuing CA is renewed: in which order, and what a crash, a lag or a lost hub does to it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from clusters import succession
from federation.errors import IssuanceDenied, SyncRefused
from federation.issuance.messages import RenewRequest, RetireRequest
from pki.bundle import check_issuing_ca, check_svid, fingerprint
from pki.csr import make_csr
from pki.lifetimes import ISSUING_CA_LIFETIME, SVID_LIFETIME
from pki.signer import KeySigner
from pki.spiffe import workload_id
from tests.builders import CLOUD, ONPREM
from tests.federation.renewing import Clock, Member, World, federation, pair, until

HALF = ISSUING_CA_LIFETIME * 0.6
LAST_CALL = ISSUING_CA_LIFETIME * 0.96


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with federation(tmp_path) as made:
        yield made


@pytest.fixture
async def onprem(world: World) -> Member:
    return (await pair(world))[0]


async def test_nothing_happens_before_half_of_the_life_is_over(world: World, onprem: Member) -> None:
    world.clock.goes_on(ISSUING_CA_LIFETIME * 0.4)
    assert (await onprem.renewal.advance()).due == ()
    assert onprem.calls == []


async def test_the_new_one_signs_when_everybody_has_acknowledged_it_and_not_before(
    world: World, onprem: Member
) -> None:
    before = onprem.anchor
    world.clock.goes_on(HALF)
    outcome = await onprem.renewal.advance()
    assert {item.name for item in outcome.lagging} == {"onprem", "onprem/gw", "cloud", "cloud/gw"}
    assert len(await world.anchors(ONPREM)) == 2
    await world.acknowledge(CLOUD)
    assert {item.name for item in (await onprem.renewal.advance()).lagging} == {"onprem", "onprem/gw"}
    assert onprem.anchor == before
    await world.acknowledge(ONPREM)
    await until(lambda: onprem.anchor != before, onprem)
    assert onprem.anchor in await world.anchors(ONPREM)


async def test_one_that_is_asked_for_again_is_signed_once(world: World, onprem: Member) -> None:
    csr = make_csr(KeySigner.generate().key)
    first = await onprem.renew(csr)
    assert await onprem.renew(csr) == first
    assert len(await world.anchors(ONPREM)) == 2


async def test_who_does_not_acknowledge_is_waited_for_until_the_last_call(
    world: World, onprem: Member
) -> None:
    before = onprem.anchor
    world.clock.goes_on(HALF)
    await onprem.renewal.advance()
    world.anchoring.lost(CLOUD, world.clock())
    await world.acknowledge(ONPREM)
    outcome = await onprem.renewal.advance()
    assert [(item.name, item.detail) for item in outcome.lagging] == [
        ("cloud", "its agent is not connected to the hub")
    ]
    assert onprem.anchor == before
    world.clock.goes_on(LAST_CALL - HALF)
    await onprem.renewal.advance()
    assert onprem.anchor != before


async def test_the_old_one_is_retired_after_the_last_svid_under_it(world: World, onprem: Member) -> None:
    before = onprem.anchor
    world.clock.goes_on(HALF)
    web = onprem.svids.get(workload_id("onprem.fed.example", "shop", "web"), world.clock())
    await onprem.renewal.advance()
    await world.acknowledge()
    await until(lambda: onprem.anchor != before, onprem)
    world.clock.goes_on(SVID_LIFETIME * 0.99)
    await onprem.renewal.advance()
    assert before in await world.anchors(ONPREM)
    check_svid(web.chain_pem, onprem.identity.anchors, "onprem.fed.example", world.clock())
    world.clock.goes_on(SVID_LIFETIME * 0.02)
    await onprem.renewal.advance()
    assert await world.anchors(ONPREM) == (onprem.anchor,)
    assert len(onprem.identity.anchors) == 1
    assert succession.load_retiring(onprem.state) == ()


@pytest.mark.parametrize("lost", ["renew", "retire", ""])
async def test_a_crash_after_any_step_loses_nothing_and_signs_nothing_twice(
    lost: str, world: World, onprem: Member
) -> None:
    """Between any two steps the agent is killed: it goes on with what is on the disk."""
    before, seen = onprem.anchor, set(await world.anchors(ONPREM))
    onprem.dies_at = lost
    world.clock.goes_on(HALF)
    for round_ in range(12):
        onprem.start()
        await onprem.renewal.advance()
        if round_ == 2:
            onprem.dies_at = ""
        await world.acknowledge()
        seen |= set(await world.anchors(ONPREM))
        # Two in a row have to name nobody, and who starts again begins to count again.
        await onprem.renewal.advance()
    assert onprem.anchor != before
    assert seen == {before, onprem.anchor}
    world.clock.goes_on(SVID_LIFETIME * 2)
    onprem.start()
    await onprem.renewal.advance()
    assert await world.anchors(ONPREM) == (onprem.anchor,)


async def test_remains_of_a_switch_that_was_cut_short_are_removed(world: World, onprem: Member) -> None:
    world.clock.goes_on(HALF)
    await onprem.renewal.advance()
    files = {name: (onprem.state / name).read_bytes() for name in ("next.key", "next.pem")}
    await world.acknowledge()
    before = onprem.anchor
    await until(lambda: onprem.anchor != before, onprem)
    after = onprem.anchor
    for name, content in files.items():
        (onprem.state / name).write_bytes(content)
        (onprem.state / name).chmod(0o600)
    onprem.start()
    assert onprem.anchor == after
    assert not (onprem.state / "next.key").exists()


async def test_while_another_agent_has_the_disk_nothing_is_begun(world: World, onprem: Member) -> None:
    world.clock.goes_on(HALF)
    onprem.frozen = True
    await onprem.renewal.advance()
    assert onprem.calls == []
    assert (await onprem.renewal.complete(1)).failed
    assert not (onprem.state / "next.key").exists()


async def test_a_hub_that_is_away_is_asked_until_it_is_back(world: World, onprem: Member) -> None:
    before = onprem.anchor
    world.clock.goes_on(HALF)
    onprem.away = True
    outcome = await onprem.renewal.advance()
    assert "the hub could not be asked" in outcome.failed[0].detail
    onprem.away = False
    await onprem.renewal.advance()
    await world.acknowledge()
    await until(lambda: onprem.anchor != before, onprem)
    assert onprem.renewal.trouble is None


async def test_with_a_successor_in_hand_the_last_call_needs_no_hub(world: World, onprem: Member) -> None:
    before = onprem.anchor
    world.clock.goes_on(HALF)
    await onprem.renewal.advance()
    onprem.away = True
    world.clock.goes_on(LAST_CALL - HALF)
    await onprem.renewal.advance()
    assert onprem.anchor != before


# --- asked for ---------------------------------------------------------------------------------


async def test_forced_it_is_renewed_though_it_is_not_due(world: World, onprem: Member) -> None:
    before = onprem.anchor
    await onprem.renewal.complete(0, force=True)
    await world.acknowledge()
    outcome = await onprem.renewal.complete(5)
    assert onprem.anchor != before
    assert [item.what for item in outcome.done] == ["issuing CA"]
    assert outcome.failed == outcome.due == ()


async def test_one_of_another_root_than_the_one_that_signs_is_due(world: World, onprem: Member) -> None:
    before = onprem.anchor
    assert onprem.renewal.due() == ()
    onprem.wanted = lambda chain: fingerprint(chain[0]) != before
    assert onprem.renewal.due()
    await onprem.renewal.advance()
    await world.acknowledge()
    await until(lambda: onprem.anchor != before, onprem)
    assert onprem.renewal.due() == ()


async def test_those_who_follow_our_bundles_get_time_to_hear_of_a_new_one(tmp_path: Path) -> None:
    async with federation(tmp_path, outside=timedelta(minutes=10)) as world:
        onprem, _ = await pair(world)
        before = onprem.anchor
        world.clock.goes_on(ISSUING_CA_LIFETIME * 0.6)
        await onprem.renewal.advance()
        await world.acknowledge()
        for _ in range(3):
            (lagging,) = (await onprem.renewal.advance()).lagging
            assert "trust domains outside" in lagging.name
            world.clock.goes_on(timedelta(minutes=3))
        assert onprem.anchor == before
        world.clock.goes_on(timedelta(minutes=2))
        await until(lambda: onprem.anchor != before, onprem)


async def test_a_successor_that_is_no_longer_wanted_is_nobodys_anchor(world: World, onprem: Member) -> None:
    world.clock.goes_on(ISSUING_CA_LIFETIME * 0.6)
    await onprem.renewal.advance()
    _, unused = await world.anchors(ONPREM)
    onprem.wanted = lambda chain: fingerprint(chain[0]) not in (onprem.anchor, unused)
    await onprem.renewal.advance()
    active, another = await world.anchors(ONPREM)
    assert active == onprem.anchor
    assert another != unused


# --- who slept ------------------------------------------------------------------------------------


async def test_who_slept_past_the_end_is_let_in_again_by_the_key_that_it_still_has(
    world: World, onprem: Member
) -> None:
    before = onprem.anchor
    world.clock.goes_on(ISSUING_CA_LIFETIME + timedelta(days=3))
    await onprem.renewal.advance()
    assert onprem.calls[0] == "reattest"
    assert onprem.anchor != before
    assert onprem.anchor in await world.anchors(ONPREM)
    assert onprem.renewal.trouble is None
    await onprem.standing(onprem.anchor)  # it can show the hub who it is


async def test_after_the_grace_only_a_new_token_helps(world: World, onprem: Member) -> None:
    world.clock.goes_on(ISSUING_CA_LIFETIME + timedelta(days=8))
    (failed,) = (await onprem.renewal.advance()).failed
    assert "the hub's grace is 7 days" in failed.detail
    assert "join --rejoin" in failed.hint


async def test_a_cluster_that_was_joined_again_elsewhere_is_not_let_in(world: World, onprem: Member) -> None:
    await world.join(ONPREM, rejoin=True)
    world.clock.goes_on(ISSUING_CA_LIFETIME + timedelta(days=1))
    (failed,) = (await onprem.renewal.advance()).failed
    assert failed.detail == "this proves nothing of cluster onprem"
    assert len(await world.anchors(ONPREM)) == 1


# --- clocks -------------------------------------------------------------------------------------


async def test_an_agent_whose_clock_jumped_ahead_is_refused_and_goes_on_when_it_is_right_again(
    world: World,
) -> None:
    clock = Clock()
    onprem = await world.join(ONPREM, clock=clock)
    before = onprem.anchor
    for ahead in (HALF, ISSUING_CA_LIFETIME + timedelta(days=2)):
        clock.goes_on(ahead)
        (failed,) = (await onprem.renewal.advance()).failed
        assert "clock" in failed.detail
        clock.goes_on(-ahead)
        assert (await onprem.renewal.advance()).failed == ()
    assert await world.anchors(ONPREM) == (before,)
    assert onprem.anchor == before


async def test_what_was_made_while_all_clocks_were_ahead_is_replaced_when_they_are_right_again(
    world: World, onprem: Member
) -> None:
    """Hub and agent on one machine: it jumps ahead by 8 days, all is renewed, and it jumps back."""
    world.clock.goes_on(HALF)
    before = onprem.anchor
    await onprem.renewal.advance()
    await world.acknowledge()
    await until(lambda: onprem.anchor != before, onprem)
    made_ahead = onprem.anchor
    world.clock.goes_on(-HALF)
    await onprem.renewal.advance()
    assert onprem.anchor not in {before, made_ahead}
    assert onprem.renewal.active.covers(world.clock())
    assert onprem.renewal.trouble is None


# --- who may ----------------------------------------------------------------------------------------


async def test_a_chain_leads_to_the_root_and_can_sign_for_its_own_cluster_alone(
    world: World, onprem: Member
) -> None:
    chain = "".join(await onprem.renew(make_csr(KeySigner.generate().key)))
    check_issuing_ca(chain, [world.authority.root], "onprem.fed.example", world.clock())


async def test_whose_anchor_was_taken_away_gets_nothing(world: World, onprem: Member) -> None:
    peer = onprem.peer
    await world.join(ONPREM, rejoin=True)
    with pytest.raises(SyncRefused) as refused:
        await world.issuance.renew(peer, RenewRequest(make_csr(KeySigner.generate().key), world.clock()))
    assert refused.value.code == "not-this-cluster"
    assert len(await world.anchors(ONPREM)) == 1


async def test_nobody_retires_the_anchor_that_he_is_known_by(world: World, onprem: Member) -> None:
    with pytest.raises(SyncRefused):
        await onprem.retire(onprem.anchor)
    assert await world.anchors(ONPREM) == (onprem.anchor,)


async def test_a_request_that_proves_nothing_and_a_wrong_clock_are_denied(
    world: World, onprem: Member
) -> None:
    good = make_csr(KeySigner.generate().key)
    for request, code in (
        (RenewRequest("-----BEGIN CERTIFICATE REQUEST-----", world.clock()), "csr-invalid"),
        (RenewRequest(good, world.clock() + timedelta(minutes=2)), "clock-skew"),
    ):
        with pytest.raises(IssuanceDenied) as denied:
            await world.issuance.renew(onprem.peer, request)
        assert denied.value.code == code
    with pytest.raises(IssuanceDenied):
        await world.issuance.retire(
            onprem.peer, RetireRequest("0" * 64, world.clock() - timedelta(minutes=2))
        )
    assert len(await world.anchors(ONPREM)) == 1


async def test_a_key_that_had_its_time_is_not_certified_anew(world: World, onprem: Member) -> None:
    csr = make_csr(KeySigner.generate().key)
    await onprem.renew(csr)
    world.clock.goes_on(ISSUING_CA_LIFETIME + timedelta(days=1))
    with pytest.raises(IssuanceDenied) as denied:
        await onprem.reattest(csr)
    assert denied.value.code == "key-used"
