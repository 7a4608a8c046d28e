from dataclasses import replace

import pytest

from federation.errors import Contention, Exit, TokenRefused, UnknownToken
from federation.registry import keyspace
from federation.registry.records import TokenState
from federation.registry.registry import Registry
from federation.registry.store import Put, Store
from federation.registry.tokens import KEPT
from tests.builders import CLOUD, ONPREM
from tests.federation.registry.worlds import DAY, MINUTE, NOW, joined, token


async def test_tokens_are_listed_newest_first(registry: Registry) -> None:
    older = token(ONPREM, "older")
    newer = replace(token(CLOUD, "newer"), created=NOW + MINUTE)
    await registry.tokens.add(older)
    await registry.tokens.add(newer)
    assert await registry.tokens.list() == [newer, older]


async def test_a_token_says_what_has_become_of_it(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM, "waiting"))
    await registry.tokens.add(token(ONPREM, "revoked"))
    await registry.tokens.revoke("revoked", NOW)
    await joined(registry, CLOUD)
    tokens = await registry.tokens.list()
    assert {one.id: one.state(NOW) for one in tokens} == {
        "waiting": TokenState.UNUSED,
        "revoked": TokenState.REVOKED,
        "token-of-cloud": TokenState.USED,
    }
    assert {one.id: one.state(NOW + 15 * MINUTE) for one in tokens} == {
        "waiting": TokenState.EXPIRED,
        "revoked": TokenState.REVOKED,
        "token-of-cloud": TokenState.USED,
    }


async def test_a_spent_token_is_never_written_over(registry: Registry) -> None:
    await joined(registry, ONPREM)
    with pytest.raises(Contention):
        await registry.tokens.add(token(ONPREM, "token-of-onprem"))
    (spent,) = await registry.tokens.list()
    assert spent.state(NOW) is TokenState.USED


async def test_a_revoked_token_stays_revoked_since_then(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM))
    first = await registry.tokens.revoke("t1", NOW)
    assert await registry.tokens.revoke("t1", NOW + MINUTE) == first
    assert first.revoked_at == NOW


async def test_revoking_a_token_that_is_not_there_is_an_error(registry: Registry) -> None:
    with pytest.raises(UnknownToken, match="there is no join token t1") as refused:
        await registry.tokens.revoke("t1", NOW)
    assert refused.value.exit_code is Exit.NOT_FOUND


async def test_revoking_a_used_token_says_that_it_is_too_late(registry: Registry) -> None:
    await joined(registry, ONPREM)
    with pytest.raises(TokenRefused, match="cluster onprem has joined with it") as refused:
        await registry.tokens.revoke("token-of-onprem", NOW)
    assert refused.value.code == "token-used"
    assert "fedgate leave" in refused.value.hint


async def test_a_token_is_listed_for_a_while_after_its_end_and_then_forgotten(registry: Registry) -> None:
    await registry.tokens.add(token(ONPREM, "expired"))
    await joined(registry, CLOUD)
    await registry.tidy(NOW + KEPT)
    assert len(await registry.tokens.list()) == 2
    await registry.tidy(NOW + KEPT + MINUTE)
    assert [one.id for one in await registry.tokens.list()] == ["expired"]
    await registry.tidy(NOW + KEPT + DAY)
    assert await registry.tokens.list() == []


async def test_a_record_that_makes_no_sense_hides_no_other(registry: Registry, store: Store) -> None:
    await registry.tokens.add(token(ONPREM))
    await store.commit([Put(keyspace.token("broken"), b"?")])
    assert [one.id for one in await registry.tokens.list()] == ["t1"]
