"""Keys at rest: whole or not at all, and for nobody else's eyes."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pki import keystore
from pki.errors import CannotUnseal, KeyExposed, KeystoreError, StateBusy
from tests.pki import dying_writer
from tests.pki.dying_writer import NEW, OLD

SEALED = keystore.seal(b"the root key", b"passphrase")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


@pytest.fixture
def wide_open() -> Iterator[None]:
    """A umask that would let everybody in."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("wide_open")
def test_what_is_written_is_read_and_closed_to_others(tmp_path: Path) -> None:
    keystore.write(tmp_path / "key", b"secret")
    assert keystore.read(tmp_path / "key") == b"secret"
    assert mode(tmp_path / "key") == 0o600
    assert names(tmp_path) == {"key"}


def test_a_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    keystore.write(tmp_path / "key", b"old")
    with (tmp_path / "key").open("rb") as reader:
        keystore.write(tmp_path / "key", b"new")
        assert reader.read() == b"old"
    assert keystore.read(tmp_path / "key") == b"new"


def test_a_file_that_others_may_read_becomes_secret_when_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old")
    (tmp_path / "key").chmod(0o644)
    keystore.write(tmp_path / "key", b"new")
    assert mode(tmp_path / "key") == 0o600


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_may_use_is_not_used(bits: int, tmp_path: Path) -> None:
    keystore.write(tmp_path / "key", b"secret")
    (tmp_path / "key").chmod(bits)
    with pytest.raises(KeyExposed, match=f"mode {bits:04o}") as caught:
        keystore.read(tmp_path / "key")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


def test_a_link_in_place_of_a_secret_is_not_followed(tmp_path: Path) -> None:
    keystore.write(tmp_path / "real", b"secret")
    (tmp_path / "key").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic links"):
        keystore.read(tmp_path / "key")


def test_a_file_that_is_missing_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        keystore.read(tmp_path / "key")


@pytest.mark.usefixtures("wide_open")
def test_a_leftover_of_a_dead_writer_is_neither_used_nor_in_the_way(tmp_path: Path) -> None:
    leftover = tmp_path / ".key.new"
    leftover.write_bytes(b"half")
    with leftover.open("rb") as spy:
        keystore.write(tmp_path / "key", b"secret")
        assert spy.read() == b"half"
    assert keystore.read(tmp_path / "key") == b"secret"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match=r"cannot write .*nowhere/key: No such file"):
        keystore.write(tmp_path / "nowhere" / "key", b"secret")


# --- several files as one ---------------------------------------------------------------------


def content(directory: Path) -> dict[str, bytes]:
    return {name: keystore.read(directory / name) for name in OLD}


def test_files_that_belong_together_are_replaced_together(tmp_path: Path) -> None:
    keystore.write_all(tmp_path, OLD)
    keystore.write_all(tmp_path, NEW)
    assert content(tmp_path) == NEW
    assert names(tmp_path) == set(NEW)


def test_whenever_the_writer_dies_there_is_one_set_or_the_other(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", dying_writer.__name__, tmp_path], check=True, timeout=60)
    found = []
    for state in sorted(tmp_path.glob("byte-*")):
        keystore.recover(state)
        assert content(state) in (OLD, NEW), f"torn by a death at {state.name}"
        keystore.write_all(state, NEW)
        assert content(state) == NEW
    for state in sorted(tmp_path.glob("step-*")):
        keystore.recover(state)
        assert content(state) in (OLD, NEW), f"torn by a death at {state.name}"
        found.append(content(state)["key"])
        keystore.write_all(state, NEW)
        assert content(state) == NEW
    turn = found.index(b"new key")
    assert turn >= 4
    assert found == [b"old key"] * turn + [b"new key"] * (len(found) - turn)


def test_there_is_nothing_to_recover_in_a_quiet_directory(tmp_path: Path) -> None:
    keystore.recover(tmp_path)
    assert names(tmp_path) == set()


# --- one user at a time -----------------------------------------------------------------------


def test_a_state_directory_has_one_user_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    with keystore.exclusive(state):
        assert mode(state) == 0o700
        with pytest.raises(StateBusy, match="in use by another process"), keystore.exclusive(state):
            pass
    with keystore.exclusive(state):
        pass


def test_whoever_takes_a_state_directory_ends_what_its_last_user_began(tmp_path: Path) -> None:
    keystore.write(tmp_path / ".key.new", b"new key")
    keystore.write(tmp_path / ".write-all", b'["key"]')
    with keystore.exclusive(tmp_path):
        assert names(tmp_path) == {"key"}


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inside = keystore.exclusive(tmp_path / "file" / "state")
    with pytest.raises(KeystoreError, match=r"cannot use .*file/state: Not a directory"), inside:
        pass


# --- sealing ----------------------------------------------------------------------------------


def test_unseal_undoes_seal() -> None:
    assert keystore.unseal(SEALED, b"passphrase") == b"the root key"


def test_a_sealed_secret_does_not_show_it_and_is_never_the_same_twice() -> None:
    assert b"root key" not in SEALED
    assert keystore.seal(b"the root key", b"passphrase") != SEALED


def test_a_wrong_passphrase_is_told() -> None:
    with pytest.raises(CannotUnseal, match="passphrase is wrong"):
        keystore.unseal(SEALED, b"Passphrase")


@pytest.mark.parametrize("place", [20, 40, 50, -1], ids=["salt", "nonce", "content", "tag"])
def test_a_damaged_secret_is_not_unsealed(place: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1
    with pytest.raises(CannotUnseal):
        keystore.unseal(bytes(damaged), b"passphrase")


def test_a_header_cannot_ask_for_all_of_the_memory() -> None:
    greedy = bytearray(SEALED)
    greedy[len(b"fedgate-sealed") + 1] = 40
    with pytest.raises(CannotUnseal, match="header is damaged"):
        keystore.unseal(bytes(greedy), b"passphrase")


def test_a_later_format_is_refused_by_its_number() -> None:
    later = bytearray(SEALED)
    later[len(b"fedgate-sealed")] = 7
    with pytest.raises(CannotUnseal, match="format 7, and this fedgate knows format 1"):
        keystore.unseal(bytes(later), b"passphrase")


@pytest.mark.parametrize("rubbish", [b"", b"fedgate-sealed", b"-----BEGIN PRIVATE KEY-----" * 10])
def test_something_else_was_never_sealed(rubbish: bytes) -> None:
    with pytest.raises(CannotUnseal, match="not a sealed secret of ours"):
        keystore.unseal(rubbish, b"passphrase")
