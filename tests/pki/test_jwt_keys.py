"""When a cluster has which JWT keys, and which of them signs."""

from datetime import datetime, timedelta

from pki.jwt_keys import KEY_LIFETIME, SigningKey, renew_at, signing, tended
from pki.jwt_svid import LIFETIME
from tests.authorities import NOW

HOUR = timedelta(hours=1)


def test_there_is_always_a_key_to_sign_with_and_it_has_been_known_for_long() -> None:
    keys: tuple[SigningKey, ...] = ()
    known_since: dict[str, datetime] = {}
    signers: list[str] = []
    for hour in range(24 * 20):
        now = NOW + hour * HOUR
        keys = tended(keys, now)
        for key in keys:
            known_since.setdefault(key.key_id, now)
        signer = signing(keys, now)
        assert signer is not None
        assert now + LIFETIME <= signer.validity.not_after
        if signer.key_id not in signers:
            signers.append(signer.key_id)
            assert len(signers) == 1 or now - known_since[signer.key_id] >= KEY_LIFETIME * 0.4
        assert len(keys) <= 3
    assert len(signers) >= 18


def test_what_is_tended_twice_is_tended_once() -> None:
    keys = tended((), NOW)
    assert tended(keys, NOW) == keys
    later = tended(keys, NOW + KEY_LIFETIME * 0.6)
    assert later[0] == keys[0]
    assert len(later) == 2
    assert tended(later, NOW + KEY_LIFETIME * 0.6) == later


def test_the_next_key_can_be_made_early_and_then_waits_for_its_turn() -> None:
    keys = tended((), NOW)
    for soon in (NOW, NOW + HOUR):
        early = tended(keys, soon, early=True)
        assert (early[0], len(early)) == (keys[0], 2)
        assert tended(early, soon, early=True) == early
        assert signing(early, soon) == keys[0]
    assert renew_at(early[1]) > NOW + KEY_LIFETIME / 2


def test_who_slept_longer_than_its_keys_begins_anew() -> None:
    keys = tended((), NOW)
    assert signing(keys, NOW + KEY_LIFETIME) is None
    (new,) = tended(keys, NOW + KEY_LIFETIME * 3)
    assert signing((new,), NOW + KEY_LIFETIME * 3) == new


def test_a_key_from_a_time_that_never_was_is_not_kept() -> None:
    wrong = tended((), NOW + 1000 * KEY_LIFETIME)
    (right,) = tended(wrong, NOW)
    assert right.validity.not_after == NOW + KEY_LIFETIME


def test_a_private_key_is_not_in_the_repr() -> None:
    assert "PRIVATE" not in repr(tended((), NOW))
