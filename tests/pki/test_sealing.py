"""Keys sealed or not: what opens what, and another passphrase for all of them or for none."""

from pathlib import Path

import pytest

from pki import keystore
from pki.errors import CannotUnseal
from pki.sealing import UNSEALED, Seal

OLD, NEW = Seal(b"open sesame"), Seal(b"shut sesame")


def test_what_is_closed_is_opened_by_the_same_passphrase_alone(tmp_path: Path) -> None:
    keystore.write(tmp_path / "next.key", OLD.closed(b"the key"))
    assert b"the key" not in (tmp_path / "next.key").read_bytes()
    assert OLD.read(tmp_path / "next.key") == b"the key"
    for other, reason in ((NEW, "the passphrase is wrong"), (UNSEALED, "no passphrase was given")):
        with pytest.raises(CannotUnseal, match=reason) as refused:
            other.read(tmp_path / "next.key")
        assert str(tmp_path / "next.key") in str(refused.value)


def test_what_was_never_sealed_is_read_with_and_without_a_passphrase() -> None:
    assert UNSEALED.closed(b"the key") == b"the key"
    assert OLD.opened(b"the key") == UNSEALED.opened(b"the key") == b"the key"


def test_a_passphrase_shows_nowhere() -> None:
    assert "sesame" not in f"{OLD!r} {OLD}"
