"""An agent's JWT keys on disk, and their public halves."""

from pathlib import Path

import msgspec
import pytest

from clusters import keyring
from clusters.errors import IdentityUnusable, InvalidValue
from clusters.jwt_key import MAX_JWT_KEYS, JwtKey, JwtKeys
from pki.errors import PkiError
from pki.jwt_keys import SigningKey
from pki.sealing import Seal
from tests.authorities import NOW


def test_keys_come_back_as_they_were_kept(tmp_path: Path) -> None:
    assert keyring.load(tmp_path) == ()
    keys = (SigningKey.new(NOW), SigningKey.new(NOW))
    keyring.save(tmp_path, keys)
    back = keyring.load(tmp_path)
    assert [(key.key_id, key.validity) for key in back] == [(key.key_id, key.validity) for key in keys]
    assert (tmp_path / keyring.FILE).stat().st_mode & 0o777 == 0o600
    keyring.forget(tmp_path)
    assert keyring.load(tmp_path) == ()


def test_keys_are_sealed_as_others_are_and_open_to_the_same_passphrase_alone(tmp_path: Path) -> None:
    keys = (SigningKey.new(NOW),)
    keyring.save(tmp_path, keys, Seal(b"open sesame"))
    assert b"PRIVATE" not in (tmp_path / keyring.FILE).read_bytes()
    assert [key.key_id for key in keyring.load(tmp_path, Seal(b"open sesame"))] == [keys[0].key_id]
    with pytest.raises(IdentityUnusable, match="no passphrase was given") as refused:
        keyring.load(tmp_path)
    assert "move the file away" not in refused.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"schema":1,"keys":[{"key":"x"}]}', b"\xff", b'{"schema":2}']
)
def test_a_file_that_is_none_of_ours_is_an_error_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / keyring.FILE).touch(0o600)
    (tmp_path / keyring.FILE).write_bytes(content)
    with pytest.raises(IdentityUnusable) as refused:
        keyring.load(tmp_path)
    assert refused.value.hint


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    keyring.save(tmp_path, (SigningKey.new(NOW),))
    (tmp_path / keyring.FILE).chmod(0o644)
    with pytest.raises((IdentityUnusable, PkiError), match="others may use it"):
        keyring.load(tmp_path)


def test_what_is_published_is_the_public_half() -> None:
    key = SigningKey.new(NOW)
    public = keyring.published(key)
    assert (public.id, public.expires) == (key.key_id, key.validity.not_after)
    assert msgspec.json.decode(msgspec.json.encode(public), type=JwtKey) == public


def test_a_key_cannot_go_by_the_name_of_another() -> None:
    one, other = keyring.published(SigningKey.new(NOW)), keyring.published(SigningKey.new(NOW))
    with pytest.raises(InvalidValue, match="not the thumbprint"):
        JwtKey(other.id, one.x, one.y, one.expires)


def test_a_cluster_has_a_few_keys_at_a_time() -> None:
    key = keyring.published(SigningKey.new(NOW))
    JwtKeys("west", (key,) * MAX_JWT_KEYS)
    with pytest.raises(InvalidValue, match="more than"):
        JwtKeys("west", (key,) * (MAX_JWT_KEYS + 1))
