"""A rollover in the registry: its steps, and what everybody is told at each of them."""

import asyncio

import pytest

from clusters.model import Federation
from federation.errors import NoRollover, RolloverExists, RolloverTooLate
from federation.registry.records import ProofRecord, RolloverRecord
from federation.registry.registry import Registry
from federation.rollover.phases import Phase
from pki.authority import to_pem
from pki.bundle import fingerprint
from pki.succession import cross_certificate
from tests import builders
from tests.authorities import Authorities
from tests.federation.registry.worlds import DAY, NOW

OLD, NEW = Authorities(), Authorities()
CROSS = to_pem([cross_certificate(NEW.root.certificate, OLD.root, OLD.now)])
BEGUN = RolloverRecord(Phase.SPREADING, OLD.root_pem, NEW.root_pem, CROSS, NOW)
AT = ("hub.example:7443",)
BEFORE = builders.federation(roots=(OLD.root_pem,))
SIGNING = {"old": fingerprint(OLD.root.certificate), "new": fingerprint(NEW.root.certificate)}


async def begin(registry: Registry) -> None:
    await registry.set_federation(BEFORE)
    await registry.rollovers.start(BEGUN, AT)


async def known(registry: Registry) -> Federation:
    federation = await registry.federation()
    assert federation is not None
    return federation


async def test_at_first_both_roots_are_told_and_the_old_one_signs(registry: Registry) -> None:
    await begin(registry)
    federation = await known(registry)
    assert federation.roots == (OLD.root_pem, NEW.root_pem)
    assert (federation.crosses, federation.signing, federation.prove_at) == ((CROSS,), SIGNING["old"], AT)


async def test_after_the_switch_the_new_one_signs_and_no_proof_is_asked_for(registry: Registry) -> None:
    await begin(registry)
    switched = await registry.rollovers.switch(NEW.root_pem, NOW + DAY)
    assert (switched.phase, switched.switched) == (Phase.REISSUING, NOW + DAY)
    federation = await known(registry)
    assert federation.roots == (OLD.root_pem, NEW.root_pem)
    assert (federation.signing, federation.prove_at) == (SIGNING["new"], ())


async def test_switching_twice_is_switching_once(registry: Registry) -> None:
    await begin(registry)
    once = await registry.rollovers.switch(NEW.root_pem, NOW)
    assert await registry.rollovers.switch(NEW.root_pem, NOW + DAY) == once


async def test_in_the_end_the_new_root_is_the_only_one(registry: Registry) -> None:
    await begin(registry)
    await registry.rollovers.switch(NEW.root_pem, NOW)
    await registry.rollovers.finish(NEW.root_pem)
    assert await registry.rollovers.get() is None
    assert await known(registry) == builders.federation(roots=(NEW.root_pem,))


async def test_an_abort_leaves_everything_as_it_was(registry: Registry) -> None:
    await begin(registry)
    await registry.rollovers.prove("west", ProofRecord(SIGNING["new"], NOW))
    await registry.rollovers.abort(NEW.root_pem)
    assert await registry.rollovers.get() is None
    assert await known(registry) == BEFORE
    assert await registry.rollovers.proofs(SIGNING["new"]) == {}


async def test_there_is_one_rollover_at_a_time(registry: Registry) -> None:
    await begin(registry)
    with pytest.raises(RolloverExists, match="spreading"):
        await registry.rollovers.start(BEGUN, AT)


async def test_there_is_no_way_back_after_the_switch_and_none_around_it(registry: Registry) -> None:
    await begin(registry)
    with pytest.raises(RolloverTooLate, match="does not sign yet"):
        await registry.rollovers.finish(NEW.root_pem)
    await registry.rollovers.switch(NEW.root_pem, NOW)
    with pytest.raises(RolloverTooLate, match="signs already"):
        await registry.rollovers.abort(NEW.root_pem)


async def test_a_step_of_another_rollover_is_refused(registry: Registry) -> None:
    await begin(registry)
    for step in (registry.rollovers.abort(OLD.root_pem), registry.rollovers.finish(OLD.root_pem)):
        with pytest.raises(NoRollover):
            await step
    with pytest.raises(NoRollover):
        await registry.rollovers.prove("west", ProofRecord(SIGNING["old"], NOW))
    with pytest.raises(NoRollover):
        await registry.rollovers.switch(OLD.root_pem, NOW)


async def test_of_an_abort_and_a_switch_at_one_time_one_is_too_late(registry: Registry) -> None:
    await begin(registry)
    steps = registry.rollovers.abort(NEW.root_pem), registry.rollovers.switch(NEW.root_pem, NOW)
    ended = await asyncio.gather(*steps, return_exceptions=True)
    assert sorted(isinstance(end, NoRollover | RolloverTooLate) for end in ended) == [False, True]


async def test_proofs_are_those_of_the_root_that_is_to_come(registry: Registry) -> None:
    await begin(registry)
    await registry.rollovers.prove("west", ProofRecord(SIGNING["new"], NOW))
    await registry.rollovers.prove("west", ProofRecord(SIGNING["new"], NOW + DAY))
    assert await registry.rollovers.proofs(SIGNING["new"]) == {"west": NOW + DAY}
    assert await registry.rollovers.proofs(SIGNING["old"]) == {}
